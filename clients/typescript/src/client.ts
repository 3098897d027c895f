/** The client: the calls of the contract with typed errors and safe retries, upload and follow. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { type CallOptions, Connection, type ConnectionOptions } from "./connection.js";
import { EngagementError } from "./errors.js";
import { Follower } from "./follow/follower.js";
import type { FollowOptions } from "./follow/options.js";
import {
  EntityService,
  type Event,
  type EventFilterSchema,
  type EventResult,
  EventSchema,
  EventService,
  IngestService,
  type ListEventsRequestSchema,
  PrivacyService,
  type RecordEventsResponse,
  ServerService,
  type StoredEvent,
} from "./gen/engagement/v1/index.js";
import { createStub, type Stub } from "./stub.js";
import type { EventInit, UploadSource } from "./upload/chunker.js";
import type { UploadSummary } from "./upload/ledger.js";
import { upload, type UploadOptions } from "./upload/uploader.js";
import { uuid7 } from "./uuid7.js";

/** How to reach the server, as whom, and for which account. */
export interface ClientOptions extends ConnectionOptions {
  /** The brand's account: 1 to 64 letters, digits, `-` and `_`. */
  readonly accountId: string;
}

/** How an event is recorded. */
export interface RecordEventOptions extends CallOptions {
  /** Run every check, those against the store included, and store nothing. */
  readonly validateOnly?: boolean | undefined;
}

/** How some events are recorded. */
export interface RecordEventsOptions extends RecordEventOptions {
  /** Store the good events, and tell of the bad ones in the results, instead of refusing all. */
  readonly allowPartial?: boolean | undefined;
}

/** Which events are listed, and how. */
export interface ListEventsOptions extends CallOptions {
  /** Which events; by default all. */
  readonly filter?: MessageInitShape<typeof EventFilterSchema> | undefined;
  /** Latest accepted first. */
  readonly newestFirst?: boolean | undefined;
  /** How many events to read at once; at most, and by default, 1,000. */
  readonly pageSize?: number | undefined;
  /** Fields of `StoredEvent` to return, such as `event.customer_info`; by default all. */
  readonly readMask?: readonly string[] | undefined;
}

/**
 * Talks to one server for one account, over one connection, which it makes at the first call.
 *
 * Every call of its own is safe to repeat: events without an id get a UUIDv7 before they are sent, and unary calls
 * that end UNAVAILABLE are made up to five times. Failed calls reject with an EngagementError, cancelled ones with
 * the reason of their signal. The stubs have all calls of the contract, with the same token, deadline, retries and
 * errors; their requests name the account themselves.
 */
export class EngagementClient {
  /** The account of all calls that are not made through the stubs. */
  readonly accountId: string;
  /** Ways in, and the state of uploads. */
  readonly ingest: Stub<typeof IngestService>;
  /** Ways out: stored events, subscriptions, profiles. */
  readonly events: Stub<typeof EventService>;
  /** The account's lists of customer statuses and types. */
  readonly entities: Stub<typeof EntityService>;
  /** Erasures. */
  readonly privacy: Stub<typeof PrivacyService>;
  /** The server's version and limits. */
  readonly server: Stub<typeof ServerService>;
  readonly #connection: Connection;

  /** `target` is `HOST:PORT`, or another target of gRPC such as `dns:///…` and `unix:…`. */
  constructor(target: string, options: ClientOptions) {
    this.accountId = options.accountId;
    this.#connection = new Connection(target, options);
    this.ingest = createStub(IngestService, this.#connection);
    this.events = createStub(EventService, this.#connection);
    this.entities = createStub(EntityService, this.#connection);
    this.privacy = createStub(PrivacyService, this.#connection);
    this.server = createStub(ServerService, this.#connection);
  }

  /**
   * Records one event; the result is ACCEPTED, DUPLICATE or SUPPRESSED.
   *
   * Rejects with `invalid_argument` and `conflict` where the event is refused.
   */
  async recordEvent(event: EventInit, options: RecordEventOptions = {}): Promise<EventResult> {
    const { result } = await this.ingest.recordEvent(
      { accountId: this.accountId, event: withId(event), validateOnly: options.validateOnly ?? false },
      options,
    );
    if (result === undefined) {
      throw new EngagementError("the response has no result", { kind: "internal" });
    }
    return result;
  }

  /**
   * Records up to 500 events, all or none; with `allowPartial` the good ones.
   *
   * Rejects with `invalid_argument` and `conflict` where one bad event refuses the call.
   */
  async recordEvents(events: readonly EventInit[], options: RecordEventsOptions = {}): Promise<RecordEventsResponse> {
    const { allowPartial = false, validateOnly = false } = options;
    return this.ingest.recordEvents(
      { accountId: this.accountId, events: events.map(withId), allowPartial, validateOnly },
      options,
    );
  }

  /**
   * Uploads all events of a source of any length, in bounded memory, and finishes the upload.
   *
   * An upload is resumed by another call, of another process too, with the same `uploadId` and the same source from
   * its start: what is committed is skipped by its number. An upload that is finished gives its summary again and
   * reads nothing. Lost connections are made again meanwhile.
   *
   * Events without an id are sent with a UUIDv7. An event that no chunk can carry is refused here: `onRejection`
   * gets it and the summary's tally counts it. The source is read no faster than the server commits. An
   * asynchronous one may pause for any time: what it gave before is sent meanwhile.
   *
   * What the source throws comes out of here after all that it gave before is committed; the upload then stays
   * open, as after a cancellation. A source that does not answer is not waited for: give it the signal too.
   *
   * Rejects with `taken_over` where a newer stream goes on with the upload, `source_mismatch` where the source is
   * too short to be the one that the upload began with, the error that explains an outage that lasts too long, and
   * any other EngagementError that is not transient at once.
   */
  async upload(source: UploadSource, options: UploadOptions = {}): Promise<UploadSummary> {
    const { ingest, accountId } = this;
    const { timeoutSeconds, closing } = this.#connection;
    const uploadId = options.uploadId ?? uuid7();
    return upload({ ingest, accountId, uploadId, timeoutSeconds, closing }, source, options);
  }

  /** The events that a filter takes, page by page, without gaps or repeats. */
  async *listEvents(options: ListEventsOptions = {}): AsyncGenerator<StoredEvent, void> {
    const { filter, newestFirst = false, pageSize = 1000, readMask = [] } = options;
    const request: MessageInitShape<typeof ListEventsRequestSchema> = {
      accountId: this.accountId,
      newestFirst,
      pageSize,
      ...(filter !== undefined && { filter }),
      ...(readMask.length > 0 && { readMask: { paths: [...readMask] } }),
    };
    let pageToken = "";
    do {
      const page = await this.events.listEvents({ ...request, pageToken }, options);
      yield* page.events;
      // A page without events is not the last one: the token says which is.
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /**
   * Follows the events that a filter takes; it connects when it is first asked for one.
   *
   * It starts at exactly one of `afterCursor`, `earliest`, `latest` and `startTime`, and throws a TypeError
   * otherwise. See Follower for the rest.
   */
  follow(options: FollowOptions): Follower {
    const { events, accountId } = this;
    const { timeoutSeconds, closing } = this.#connection;
    return new Follower({ events, accountId, timeoutSeconds, closing }, options);
  }

  /** Ends the connection; calls that still run reject with an AbortError. */
  close(): void {
    this.#connection.close();
  }

  /** The same, at the end of a block that began with `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The event itself, or a copy with a new id where it has none. */
function withId(init: EventInit): Event {
  const event = create(EventSchema, init);
  return event.eventId === "" ? { ...event, eventId: uuid7() } : event;
}
