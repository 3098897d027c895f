/** Recording and listing, with a real server. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, describe, test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";
import type { EngagementClient } from "@engagement-attributes/client";
import { EntityKind, EventSchema, Outcome } from "@engagement-attributes/client/v1";

import { event, ids } from "./support/events.js";
import { engagementError, rejectsWithKind } from "./support/expectations.js";
import { TestServer } from "./support/server.js";
import { readCases } from "./support/vectors.js";

interface TextCase {
  readonly name: string;
  readonly unit: string;
  readonly times: number;
  readonly rule?: string;
  readonly wire_bytes: number;
  readonly wire_sha256: string;
}

const options = { timeout: 30_000 };

const server = await TestServer.start();

describe("recording", () => {
  after(() => server.stop());

  test("an event is recorded once, and read back", options, async () => {
    using client = server.connect();
    assert.equal((await client.recordEvent(event("e1"))).outcome, Outcome.ACCEPTED);
    assert.equal((await client.recordEvent(event("e1"))).outcome, Outcome.DUPLICATE);
    const { event: stored } = await client.events.getEvent({
      accountId: client.accountId,
      key: { case: "eventId", value: "e1" },
    });
    assert.equal(stored?.event?.eventId, "e1");
  });

  test("an event without an id gets one, and the caller's stays as it is", options, async () => {
    using client = server.connect();
    const mine = create(EventSchema, event(""));
    const first = await client.recordEvent(mine);
    const second = await client.recordEvent(mine);
    assert.equal(mine.eventId, "");
    assert.match(first.eventId, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    assert.ok(first.eventId < second.eventId);
  });

  test("a rejected event says which field breaks which rule", options, async () => {
    using client = server.connect();
    const lastPaymentDate = { year: 2014, month: 13, day: 15 };
    const error = await engagementError(
      client.recordEvent({ attributes: { case: "customerInfo", value: { lastPaymentDate } } }),
    );
    assert.equal(error.kind, "invalid_argument");
    assert.equal(error.code, "INVALID_ARGUMENT");
    assert.equal(error.reason, "FIELD_INVALID");
    const [violation] = error.violations;
    assert.equal(violation?.field, "event.customer_info.last_payment_date.month");
    assert.equal(violation.rule, "int32.gte_lte");
  });

  test("an id that other content has is a conflict", options, async () => {
    using client = server.connect();
    await client.recordEvent(event("e1"));
    await rejectsWithKind(client.recordEvent({ ...event("e1"), consumerId: "another" }), "conflict");
  });

  test("one bad event refuses all, or itself only where that is asked for", options, async () => {
    using client = server.connect();
    const events = [event("e1"), { eventId: "e2" }];
    await rejectsWithKind(client.recordEvents(events), "invalid_argument");
    const { tally, results } = await client.recordEvents(events, { allowPartial: true });
    assert.equal(tally?.accepted, 1n);
    assert.equal(tally.rejected, 1n);
    assert.equal(results[1]?.outcome, Outcome.REJECTED);
  });

  test("validating stores nothing", options, async () => {
    using client = server.connect();
    await client.recordEvent(event("e1"), { validateOnly: true });
    assert.deepEqual(await listedIds(client), []);
  });

  test("all pages are listed, forwards, backwards and filtered", options, async () => {
    using client = server.connect();
    await client.recordEvents(ids(7).map(event));
    assert.deepEqual(await listedIds(client, { pageSize: 3 }), ids(7));
    assert.deepEqual(await listedIds(client, { pageSize: 3, newestFirst: true }), ids(7).reverse());
    assert.deepEqual(await listedIds(client, { filter: { consumerIds: ["nobody"] } }), []);
    assert.deepEqual(await listedIds(client, { readMask: ["cursor"] }), Array(7).fill(""));
  });

  test("the stubs have the other calls, with typed errors", options, async () => {
    using client = server.connect();
    const { accountId } = client;
    const kind = EntityKind.CUSTOMER_TYPE;
    await client.entities.putEntities({ accountId, kind, names: ["vip"] });
    assert.deepEqual((await client.entities.listEntities({ accountId, kind })).names, ["vip"]);
    await rejectsWithKind(client.entities.deleteEntity({ accountId, kind, name: "none" }), "not_found");
    assert.equal((await client.server.getServerInfo({})).contract, "engagement.v1");
  });

  test("the largest event is recorded and read back, and one byte more is refused", options, async () => {
    using client = server.connect();
    const mostBytes = 3_670_016;
    const text = "x".repeat(49_990);
    const additionalAttributes = Object.fromEntries(ids(73).map((id) => [id, text]));
    const rest = create(EventSchema, { ...event("e1"), additionalAttributes });
    // A tag and a length of three bytes come with it.
    const consumerId = "x".repeat(mostBytes - toBinary(EventSchema, rest).length - 4);
    const largest = create(EventSchema, { ...event("e1"), additionalAttributes, consumerId });
    assert.equal(toBinary(EventSchema, largest).length, mostBytes);
    await client.recordEvent(largest);
    const read: unknown[] = [];
    for await (const stored of client.listEvents()) {
      read.push(stored.event?.additionalAttributes);
    }
    assert.deepEqual(read, [additionalAttributes]);

    largest.consumerId += "x";
    const { violations } = await engagementError(client.recordEvent(largest));
    assert.deepEqual(
      violations.map(({ field, rule }) => [field, rule]),
      [["event", "server.event.max_bytes"]],
    );
  });

  for (const { name, unit, times, rule, wire_bytes, wire_sha256 } of readCases("texts.json") as readonly TextCase[]) {
    test(`text: ${name}`, options, async () => {
      using client = server.connect();
      const balance = unit.repeat(times);
      const sent = create(EventSchema, {
        eventId: name,
        attributes: { case: "customerInfo", value: { balance } },
      });
      const wire = toBinary(EventSchema, sent);
      assert.equal(wire.length, wire_bytes);
      assert.equal(createHash("sha256").update(wire).digest("hex"), wire_sha256);
      if (rule !== undefined) {
        const error = await engagementError(client.recordEvent(sent));
        assert.deepEqual(
          error.violations.map((violation) => violation.rule),
          [rule],
        );
        return;
      }
      await client.recordEvent(sent);
      for await (const { event: stored } of client.listEvents()) {
        const attributes = stored?.attributes;
        assert.ok(attributes?.case === "customerInfo");
        assert.equal(attributes.value.balance, balance);
      }
    });
  }
});

async function listedIds(
  client: EngagementClient,
  listOptions?: Parameters<EngagementClient["listEvents"]>[0],
): Promise<string[]> {
  const found: string[] = [];
  for await (const stored of client.listEvents(listOptions)) {
    found.push(stored.event?.eventId ?? "");
  }
  return found;
}
