/** Follows the events of an account across lost connections and server restarts. */

import { EngagementError } from "../errors.js";
import type {
  EventService,
  StoredEvent,
  SubscribeEventsRequest,
  SubscribeEventsResponse,
} from "../gen/engagement/v1/index.js";
import { Outage, sleep } from "../outage.js";
import type { Stub } from "../stub.js";
import { type FollowOptions, subscribeRequest } from "./options.js";
import { FollowStream } from "./stream.js";

/** A batch of consecutive events. */
export interface EventBatch {
  /** At least one event. */
  readonly events: readonly StoredEvent[];
  /** Covers the events and everything before them. */
  readonly cursor: string;
}

/** What a follower needs of its client. */
export interface Following {
  readonly events: Stub<typeof EventService>;
  readonly accountId: string;
  readonly timeoutSeconds: number;
  /** Whether there may be another token after one has expired. */
  readonly renewsToken: boolean;
  /** Aborts when the client is closed. */
  readonly closing: AbortSignal;
}

/**
 * Yields the events that match a filter, in the order of acceptance, as soon as they are available.
 *
 * `EngagementClient.follow` creates it. Iterate over it for single events, or over `batches()` for many. There are no
 * gaps and no repeats, whatever happens to the connection or the server. Whatever ends an iteration — `break`, a
 * cancellation, an error — ends the call and loses nothing: the next iteration continues after `cursor`.
 *
 * Memory holds one batch. The stream is not read before an event is asked for; a slow reader affects no others. Only
 * one task at a time may iterate.
 *
 * An iteration rejects with an EngagementError: `precondition` if the cursor precedes the retained events or belongs
 * to another log, `invalid_argument` if the cursor or the filter is invalid, the last connection's error if an outage
 * lasts too long, and any other that is not transient, at once.
 */
export class Follower implements AsyncIterable<StoredEvent> {
  readonly #following: Following;
  readonly #options: FollowOptions;
  readonly #request: SubscribeEventsRequest;
  readonly #outage: Outage;
  readonly #closing = new AbortController();
  readonly #signal: AbortSignal;
  #stream: FollowStream | undefined;
  #cursor: string;
  #held: readonly StoredEvent[] = [];
  #handedOut = 0;
  #heldCursor = "";
  #lagEvents = 0;
  #isCaughtUp = false;
  #hasEnded = false;

  /** @internal */
  constructor(following: Following, options: FollowOptions) {
    this.#following = following;
    this.#options = options;
    this.#request = subscribeRequest(following.accountId, options);
    this.#outage = new Outage(options.maxOutageSeconds, following.renewsToken);
    this.#cursor = options.afterCursor ?? "";
    this.#signal = AbortSignal.any([
      this.#closing.signal,
      following.closing,
      ...(options.signal === undefined ? [] : [options.signal]),
    ]);
  }

  /**
   * Covers exactly the events yielded so far, and the events around them that do not match the filter.
   *
   * Store it after handling an event and start again with `afterCursor`: nothing is missed, and only events handled
   * since it was last stored come again. It also moves while no event matches the filter. It is empty until the
   * server has accepted the subscription.
   */
  get cursor(): string {
    return this.#cursor;
  }

  /** Whether all stored events have been yielded; false while disconnected. */
  get isCaughtUp(): boolean {
    return this.#isCaughtUp && this.#heldEvents === 0;
  }

  /**
   * The number of stored events after the cursor, as last reported by the server, less those yielded since.
   *
   * Events that do not match the filter are counted.
   */
  get lagEvents(): number {
    return this.#lagEvents + this.#heldEvents;
  }

  get #heldEvents(): number {
    return this.#held.length - this.#handedOut;
  }

  /** Iterates over single events. */
  async *[Symbol.asyncIterator](): AsyncGenerator<StoredEvent, void> {
    try {
      while (await this.#load()) {
        for (let event = this.#next(); event !== undefined; event = this.#next()) {
          yield event;
        }
      }
    } finally {
      this.#disconnect();
    }
  }

  /** Iterates over batches as they arrive, each with the cursor that covers it; faster for many events. */
  async *batches(): AsyncGenerator<EventBatch, void> {
    try {
      while (await this.#load()) {
        const events = this.#held;
        this.#release();
        this.#cursor = this.#heldCursor;
        yield { events, cursor: this.#cursor };
      }
    } finally {
      this.#disconnect();
    }
  }

  /** Ends the call and every iteration; `cursor` stays. */
  close(): void {
    this.#hasEnded = true;
    this.#closing.abort();
    this.#disconnect();
  }

  /** Calls `close` at the end of the scope of `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Takes the next held event and moves the cursor over it. */
  #next(): StoredEvent | undefined {
    const event = this.#held[this.#handedOut];
    if (event !== undefined) {
      this.#handedOut += 1;
      this.#cursor = this.#heldEvents > 0 ? event.cursor : this.#heldCursor;
    }
    return event;
  }

  /** Holds the next batch; false at the end. */
  async #load(): Promise<boolean> {
    for (let response = await this.#receive(); response !== undefined; response = await this.#receive()) {
      if (response.message.case === "batch") {
        this.#held = response.message.value.events;
        this.#handedOut = 0;
        this.#heldCursor = response.cursor;
        this.#lagEvents = Math.max(0, this.#lagEvents - this.#held.length);
        this.#outage.end();
        return true;
      }
      await this.#take(response);
    }
    return false;
  }

  /** The next message, reconnecting as often as necessary; undefined at the end. */
  async #receive(): Promise<SubscribeEventsResponse | undefined> {
    while (!this.#hasEnded) {
      try {
        this.#stream ??= this.#connect();
        const response = await this.#stream.read();
        this.#hasEnded ||= response === undefined;
        return response;
      } catch (error) {
        await this.#recover(error);
      }
    }
    return undefined;
  }

  #connect(): FollowStream {
    const request: SubscribeEventsRequest =
      this.#cursor === "" ? this.#request : { ...this.#request, start: { case: "afterCursor", value: this.#cursor } };
    const call = this.#following.events.subscribeEvents(request, { signal: this.#signal });
    return new FollowStream(call, request.stopAtTail, this.#following.timeoutSeconds);
  }

  /** Processes a message without events. */
  async #take({ cursor, message }: SubscribeEventsResponse): Promise<void> {
    switch (message.case) {
      case "started":
      case "progress":
        this.#lagEvents = Number(message.value.lagEvents);
        break;
      case "caughtUp":
        this.#isCaughtUp = true;
        this.#lagEvents = 0;
        break;
      case "fellBehind":
        this.#isCaughtUp = false;
        this.#lagEvents = Number(message.value.lagEvents);
        break;
      case "erasureNotice":
        await this.#options.onErasure?.(message.value);
        break;
      case "batch":
      case "closing":
      case undefined:
        break;
    }
    this.#cursor = cursor;
    if (message.case !== "started" && message.case !== "closing") {
      this.#outage.end();
    }
  }

  /** Waits until it is time to reconnect. Throws the error if reconnecting cannot help. */
  async #recover(error: unknown): Promise<void> {
    this.#disconnect();
    if (!(error instanceof EngagementError)) {
      this.#throwUnlessClosed(error);
      return;
    }
    const delaySeconds = this.#outage.delayAfter(error);
    this.#options.onReconnect?.(error);
    try {
      await sleep(delaySeconds, this.#signal);
    } catch (reason) {
      this.#throwUnlessClosed(reason);
    }
  }

  /** After `close` the iteration ends without an error. */
  #throwUnlessClosed(error: unknown): void {
    if (!this.#closing.signal.aborted) {
      throw error;
    }
  }

  /** Ends the call. Held events come again. */
  #disconnect(): void {
    this.#lagEvents = this.lagEvents;
    this.#release();
    this.#isCaughtUp = false;
    this.#stream?.close();
    this.#stream = undefined;
  }

  #release(): void {
    this.#held = [];
    this.#handedOut = 0;
  }
}
