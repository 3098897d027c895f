/** Follows the events of an account through lost connections and restarts of the server. */

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

/** Some events, one after the other. */
export interface EventBatch {
  /** At least one. */
  readonly events: readonly StoredEvent[];
  /** Covers the events and everything before them. */
  readonly cursor: string;
}

/** What a follower needs of its client. */
export interface Following {
  readonly events: Stub<typeof EventService>;
  readonly accountId: string;
  readonly timeoutSeconds: number;
  /** Aborts when the client is closed. */
  readonly closing: AbortSignal;
}

/**
 * Hands out the events that a filter takes, in the order of acceptance, each as soon as it is there.
 *
 * `EngagementClient.follow` makes it. Iterate over it for single events, or over `batches()` where there are
 * many. What it hands out has no gap and no repeat, whatever happens to the connection or to the server. Whatever
 * ends an iteration, `break`, a cancellation or an error, ends the call and loses nothing: the next iteration goes
 * on behind `cursor`.
 *
 * Memory holds one batch. The stream is not read before somebody asks for an event; a reader that takes its time
 * slows down nobody else. One task at a time may iterate.
 *
 * An iteration rejects with an EngagementError: `precondition` where the cursor is older than what is kept or of
 * another log, `invalid_argument` where the cursor or the filter is wrong, the one that explains an outage that
 * lasts too long, and any other that is not transient at once.
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
    this.#outage = new Outage(options.maxOutageSeconds);
    this.#cursor = options.afterCursor ?? "";
    this.#signal = AbortSignal.any([
      this.#closing.signal,
      following.closing,
      ...(options.signal === undefined ? [] : [options.signal]),
    ]);
  }

  /**
   * Covers exactly what was handed out, and what the filter does not take before and behind it.
   *
   * Whoever stores it after handling an event, and starts again with `afterCursor`, misses nothing and repeats
   * only what came after it was last stored. It moves with a filter that takes nothing, too. Empty until the
   * server has accepted the subscription.
   */
  get cursor(): string {
    return this.#cursor;
  }

  /** Whether everything that was stored has been handed out; false while there is no connection. */
  get isCaughtUp(): boolean {
    return this.#isCaughtUp && this.#heldEvents === 0;
  }

  /**
   * How many events were stored behind the cursor when the server last said so.
   *
   * What was handed out since is taken off. Those that the filter does not take are counted.
   */
  get lagEvents(): number {
    return this.#lagEvents + this.#heldEvents;
  }

  get #heldEvents(): number {
    return this.#held.length - this.#handedOut;
  }

  /** The single events. */
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

  /** The events in the batches in which they come, each with the cursor that covers it; faster where many come. */
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

  /** The same, at the end of a block that began with `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The next event of those that are held; the cursor covers it. */
  #next(): StoredEvent | undefined {
    const event = this.#held[this.#handedOut];
    if (event !== undefined) {
      this.#handedOut += 1;
      this.#cursor = this.#heldEvents > 0 ? event.cursor : this.#heldCursor;
    }
    return event;
  }

  /** Holds the next batch; false where there will be none. */
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

  /** The next message, over as many connections as it takes; undefined at the end. */
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

  /** Takes in what is no event. */
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

  /** Waits until it is time for another connection. Throws the error where another cannot help. */
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

  /** What `close` cancels ends the iteration as the last event does. */
  #throwUnlessClosed(error: unknown): void {
    if (!this.#closing.signal.aborted) {
      throw error;
    }
  }

  /** Ends the call. What is held and not handed out comes again. */
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
