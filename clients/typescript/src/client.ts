/** The client: calls with typed errors and safe retries, upload and follow. */

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
import type { TlsOptions } from "./tls.js";
import type { EventInit, UploadSource } from "./upload/chunker.js";
import type { UploadSummary } from "./upload/ledger.js";
import { upload, type UploadOptions } from "./upload/uploader.js";
import { uuid7 } from "./uuid7.js";

/** How to reach the server, and for which account. */
export interface ClientOptions extends ConnectionOptions {
  /** The brand's account: 1 to 64 letters, digits, `-` and `_`. */
  readonly accountId: string;
}

/** Options of `recordEvent`. */
export interface RecordEventOptions extends CallOptions {
  /** Run every check, including those against the store, but store nothing. */
  readonly validateOnly?: boolean | undefined;
}

/** Options of `recordEvents`. */
export interface RecordEventsOptions extends RecordEventOptions {
  /** Store the valid events and report the others in the results, instead of refusing the whole call. */
  readonly allowPartial?: boolean | undefined;
}

/** Options of `listEvents`. */
export interface ListEventsOptions extends CallOptions {
  /** Selects events; by default all. */
  readonly filter?: MessageInitShape<typeof EventFilterSchema> | undefined;
  /** List the latest accepted event first. */
  readonly newestFirst?: boolean | undefined;
  /** Number of events that one call reads; by default 1,000, the maximum. */
  readonly pageSize?: number | undefined;
  /** Fields of `StoredEvent` to return, such as `event.customer_info`; by default all. */
  readonly readMask?: readonly string[] | undefined;
}

/**
 * Talks to one server for one account, over one connection, which it opens with the first call.
 *
 * All methods are safe to repeat: events without an id get a UUIDv7 before they are recorded, in an upload the server
 * makes their ids, and unary calls that end UNAVAILABLE are attempted up to five times. A text that is not Unicode is
 * refused with `invalid_argument` before anything is sent. Failed calls reject with an EngagementError, cancelled ones with the
 * reason of their signal. The stubs have all calls of the contract, with the same token, deadline, retries and errors;
 * set the account in their requests.
 */
export class EngagementClient {
  /** The account that the client's methods use. */
  readonly accountId: string;
  /** Records events, and reports the state of uploads. */
  readonly ingest: Stub<typeof IngestService>;
  /** Reads stored events, subscriptions and profiles. */
  readonly events: Stub<typeof EventService>;
  /** Maintains the account's lists of customer statuses and types. */
  readonly entities: Stub<typeof EntityService>;
  /** Erases personal data. */
  readonly privacy: Stub<typeof PrivacyService>;
  /** Reports the server's version and limits. */
  readonly server: Stub<typeof ServerService>;
  readonly #connection: Connection;

  /**
   * `target` is `HOST:PORT`, or another target of gRPC such as `dns:///…` and `unix:…`.
   *
   * Throws a TypeError if a token would go over the network in plain text.
   */
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
   * Rejects with `invalid_argument` or `conflict` if the event is rejected.
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
   * Records up to 500 events, all or none; with `allowPartial`, those that are valid.
   *
   * Rejects with `invalid_argument` or `conflict` if the call is refused because of an event.
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
   * To resume an upload, even from another process, call this with the same `uploadId` and the same source from its
   * start. The events that are committed are compared by their digest and not sent again; another source is refused
   * before anything is sent. A finished upload compares the whole source and resolves with its summary again. One
   * upload id names one source: derive it from what identifies the source, such as its name and day. Lost connections
   * are re-established.
   *
   * An event without an id gets one from the server, the same whenever the source is uploaded under this `uploadId`. An
   * event that is larger than 3.5 MiB, or has a text that is not Unicode, is rejected by the client: `onRejection`
   * gets it and the summary's tally counts it. The source is read no faster than the server commits. An asynchronous
   * source may pause for any time: earlier events are sent meanwhile.
   *
   * If the source throws, all events before it are committed, then this rejects with the same error; the upload stays
   * open, as after a cancellation. A cancelled upload does not wait for its source: pass it the signal too.
   *
   * Rejects with `taken_over` if a newer stream has taken over the upload, `source_mismatch` if the upload began with
   * another source, `precondition` with the reason UPLOAD_ALL_REJECTED if the server rejected the first events, all of
   * them, the last connection's error if an outage lasts too long, and any other EngagementError that is not transient,
   * at once.
   */
  async upload(source: UploadSource, options: UploadOptions = {}): Promise<UploadSummary> {
    const { ingest, accountId } = this;
    const { timeoutSeconds, renewsToken, closing } = this.#connection;
    const uploadId = options.uploadId ?? uuid7();
    return upload({ ingest, accountId, uploadId, timeoutSeconds, renewsToken, closing }, source, options);
  }

  /** Iterates over the stored events that match a filter, page by page, without gaps or repeats. */
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
      // An empty page is not necessarily the last; an empty token is.
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /**
   * Follows the events that match a filter; it connects when it is first asked for one.
   *
   * It starts at exactly one of `afterCursor`, `earliest`, `latest` and `startTime`, and throws a TypeError
   * otherwise. See Follower for guarantees and errors.
   */
  follow(options: FollowOptions): Follower {
    const { events, accountId } = this;
    const { timeoutSeconds, renewsToken, closing } = this.#connection;
    return new Follower({ events, accountId, timeoutSeconds, renewsToken, closing }, options);
  }

  /**
   * Connects anew with other certificates, such as a renewed one of the client. New calls use them at once; those that
   * run go on over the first connection, which closes after the last of them.
   *
   * Throws a TypeError if the connection has been in plain text so far.
   */
  replaceTls(tls: true | TlsOptions): void {
    this.#connection.replaceTls(tls);
  }

  /** Closes the connection; running calls reject with an AbortError. */
  close(): void {
    this.#connection.close();
  }

  /** Calls `close` at the end of the scope of `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The event itself, or a copy with a new id if it has none. */
function withId(init: EventInit): Event {
  const event = create(EventSchema, init);
  return event.eventId === "" ? { ...event, eventId: uuid7() } : event;
}
