/** Plays the shared conversations with the scripted server. */

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { fromJson, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import {
  EngagementClient,
  EngagementError,
  type EventInit,
  type FollowOptions,
  type TokenAnswer,
} from "@engagement-attributes/client";
import {
  EntityKind,
  ErrorReason,
  EventFilterSchema,
  EventResultSchema,
  EventSchema,
  type Tally,
} from "@engagement-attributes/client/v1";

import { end, startPython } from "./support/server.js";
import { expand, readCases } from "./support/vectors.js";

interface Case {
  readonly name: string;
  readonly tls?: boolean;
  readonly client_certificate?: boolean;
  readonly token?: string;
  readonly tokens?: readonly ListedToken[];
  readonly max_outage_seconds?: number;
  readonly call: Readonly<Record<string, JsonObject>>;
  readonly expected: JsonObject;
}

interface ListedToken {
  readonly token: string;
  readonly expires_in_seconds?: number;
}

interface Addresses {
  readonly address: string;
  readonly tls_address: string;
  readonly mutual_tls_address: string;
  readonly ca_file: string;
  readonly certificate_file: string;
  readonly key_file: string;
}

type Play = (client: EngagementClient, call: JsonObject, maxOutageSeconds: number) => Promise<JsonObject>;

const TIMEOUT_SECONDS = 3;

class SourceError extends Error {}

const PLAYS: Readonly<Record<string, Play>> = {
  server_info: async (client) => {
    const { version } = await client.server.getServerInfo({});
    return { version };
  },

  record_event: async (client, { event }) => {
    const result = await client.recordEvent(fromJson(EventSchema, event ?? null));
    return { result: toJson(EventResultSchema, result) };
  },

  record_events: async (client, { events, allow_partial }) => {
    const { tally } = await client.recordEvents(readEvents(events), { allowPartial: allow_partial === true });
    return { tally: countsOf(tally) };
  },

  list_events: async (client) => {
    const eventIds: string[] = [];
    for await (const stored of client.listEvents({ pageSize: 2 })) {
      eventIds.push(stored.event?.eventId ?? "");
    }
    return { event_ids: eventIds };
  },

  upload: async (client, call, maxOutageSeconds) => {
    const rejections: JsonObject[] = [];
    const source = failing(readEvents(call.events), call.fails_after);
    const outcome = await outcomeOf(async () => {
      const { tally, events, reconnects, ...summary } = await client.upload(source, {
        uploadId: call.upload_id as string,
        chunkEvents: call.chunk_events as number,
        keepGoing: call.keep_going === true,
        maxOutageSeconds,
        onRejection: ({ position, event, error }) => {
          rejections.push({ position, event_id: event.eventId, reason: ErrorReason[error.reason] });
        },
      });
      const { skippedEvents, resumedByCount } = summary;
      const skipped = { skipped_events: skippedEvents, resumed_by_count: resumedByCount };
      return { summary: { tally: countsOf(tally), events, reconnects, ...skipped } };
    });
    return { ...outcome, rejections };
  },

  follow: async (client, { request, take }, maxOutageSeconds) => {
    const steps: JsonObject[] = [];
    const erasures: string[] = [];
    using follower = client.follow({
      ...followOptions(request as JsonObject),
      maxOutageSeconds,
      onErasure: ({ erasureId }) => {
        erasures.push(erasureId);
      },
    });
    const outcome = await outcomeOf(async () => {
      for await (const { event } of follower) {
        steps.push({ event_id: event?.eventId ?? "", cursor: follower.cursor });
        if (steps.length === take) {
          break;
        }
      }
      return {};
    });
    return { ...outcome, steps, cursor: follower.cursor, erasures };
  },
};

describe("conversations", () => {
  let server: ChildProcess;
  let addresses: Addresses;

  before(async () => {
    const listening = await startPython("clients.vectors.scripted_server");
    server = listening.process;
    addresses = JSON.parse(listening.firstLine) as Addresses;
  });

  after(async () => {
    await end(server, "SIGTERM");
  });

  for (const each of readCases("conversations.json") as readonly Case[]) {
    test(each.name, { timeout: 30_000 }, async () => {
      const tokens = each.tokens === undefined ? undefined : new ListedTokens(each.tokens);
      using client = clientOf(each, addresses, tokens);
      const outcome = await play(client, each);
      if (tokens !== undefined) {
        outcome.token_asks = tokens.asks;
      }
      const { names } = await client.entities.listEntities({
        accountId: each.name,
        kind: EntityKind.CUSTOMER_STATUS,
      });
      assert.deepEqual(names, []);
      assertHolds(outcome, each.expected);
    });
  }
});

/** A function for tokens that answers in order, and then with the last one. */
class ListedTokens {
  readonly #answers: readonly ListedToken[];
  asks = 0;

  constructor(answers: readonly ListedToken[]) {
    this.#answers = answers;
  }

  readonly next = async (): Promise<TokenAnswer> => {
    const answer = this.#answers[Math.min(this.asks, this.#answers.length - 1)];
    assert.ok(answer !== undefined);
    this.asks += 1;
    const { token, expires_in_seconds: seconds } = answer;
    return Promise.resolve(seconds === undefined ? token : { token, expiresAt: new Date(Date.now() + seconds * 1000) });
  };
}

function clientOf(
  { name, tls, client_certificate, token }: Case,
  addresses: Addresses,
  tokens: ListedTokens | undefined,
): EngagementClient {
  const options = { accountId: name, timeoutSeconds: TIMEOUT_SECONDS, token: tokens?.next ?? token };
  if (client_certificate === true) {
    const certificate = readFileSync(addresses.certificate_file);
    const key = readFileSync(addresses.key_file);
    return new EngagementClient(addresses.mutual_tls_address, {
      ...options,
      tls: { ca: readFileSync(addresses.ca_file), certificate, key },
    });
  }
  return tls === true
    ? new EngagementClient(addresses.tls_address, { ...options, tls: { ca: readFileSync(addresses.ca_file) } })
    : new EngagementClient(addresses.address, options);
}

async function play(client: EngagementClient, each: Case): Promise<JsonObject> {
  const [[kind, call] = ["none", {}], ...others] = Object.entries(each.call);
  const playIt = PLAYS[kind];
  assert.ok(playIt !== undefined && others.length === 0, `unknown call: ${Object.keys(each.call).join()}`);
  return outcomeOf(() => playIt(client, call, each.max_outage_seconds ?? 10));
}

async function outcomeOf(work: () => Promise<JsonObject>): Promise<JsonObject> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SourceError) {
      return { error: { kind: "source", reason: "" } };
    }
    if (error instanceof EngagementError) {
      return { error: { kind: error.kind, reason: error.reason } };
    }
    throw error;
  }
}

/** Of a result the script may name some members only; everything else must be the same. */
function assertHolds(outcome: JsonObject, expected: JsonObject): void {
  const { result, ...rest } = outcome;
  const { result: expectedResult, ...expectedRest } = expected;
  if (expectedResult !== undefined) {
    assert.deepEqual({ ...(result as JsonObject), ...(expectedResult as JsonObject) }, result);
  }
  assert.deepEqual(rest, expectedRest);
}

function readEvents(events: JsonValue | undefined): EventInit[] {
  return (events as JsonValue[]).map((event) => fromJson(EventSchema, expand(event)));
}

function* failing(events: readonly EventInit[], failsAfter: JsonValue | undefined): Generator<EventInit, void> {
  for (const [position, event] of events.entries()) {
    if (position === failsAfter) {
      throw new SourceError();
    }
    yield event;
  }
}

function followOptions(request: JsonObject): FollowOptions {
  const { filter, startTime, afterCursor, earliest, latest, stopAtTail, ...unknown } = request;
  assert.deepEqual(unknown, {}, "unknown members of a request");
  return {
    filter: filter === undefined ? undefined : fromJson(EventFilterSchema, filter),
    startTime: startTime === undefined ? undefined : new Date(startTime as string),
    afterCursor: afterCursor as string | undefined,
    earliest: earliest as true | undefined,
    latest: latest as true | undefined,
    stopAtTail: stopAtTail as boolean | undefined,
  };
}

/** The outcomes that events had, as the script writes them. */
function countsOf(tally: Tally | undefined): JsonObject {
  const { accepted = 0n, duplicate = 0n, rejected = 0n, suppressed = 0n } = tally ?? {};
  const counts = Object.entries({ accepted, duplicate, rejected, suppressed });
  return Object.fromEntries(counts.filter(([, count]) => count > 0n).map(([name, count]) => [name, Number(count)]));
}
