/** Cuts a source of events into chunks, and reads it no faster than they are taken. */

import { setImmediate } from "node:timers/promises";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { EngagementError } from "../errors.js";
import { ErrorReason, type Event, type EventError, EventErrorSchema, EventSchema } from "../gen/engagement/v1/index.js";
import { uuid7 } from "../uuid7.js";
import { Wakeup } from "../wakeup.js";
import { Chunk, serializeEvent, withEventId } from "./chunk.js";

/** An event, or a plain object with the fields of one. */
export type EventInit = MessageInitShape<typeof EventSchema>;

/** The source of an upload's events. */
export type UploadSource = Iterable<EventInit> | AsyncIterable<EventInit>;

/** Receives an event too large for any chunk. */
export type Reject = (position: number, event: Event, error: EventError) => void;

/** Where an upload continues, and the limits of its chunks. */
export interface ChunkerStart {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Sequence of the last chunk that is committed. */
  readonly afterSequence: number;
  /** Number of the source's events that are committed. */
  readonly skipEvents: number;
}

const FLUSH_MS = 200;
// Covers an event's tag and length, an id if it has none, and its share of the enclosing message.
const FRAMING_BYTES = 64;
const EVENTS_BETWEEN_PAUSES = 1024;

/**
 * Reads a source in a task of its own and keeps the events of one chunk ready.
 *
 * A chunk is complete when it is full. If the source pauses, it is ready as it is, so that an endless source never
 * lags far behind. An event too large for any chunk is rejected here.
 */
export class Chunker {
  readonly #source: UploadSource;
  readonly #reject: Reject;
  readonly #onReady: () => void;
  readonly #taken = new Wakeup();
  #reading: Promise<void> | undefined;
  #events: Uint8Array[] = [];
  #bytes = 0;
  #firstPosition = 0;
  #position = 0;
  #skipEvents = 0;
  #lastSequence = 0;
  #flushTimer: NodeJS.Timeout | undefined;
  #isReady = false;
  #isParked = false;
  #isClosed = false;
  #hasEnded = false;
  #failure: { readonly error: unknown } | undefined;

  /** `onReady` is called when a chunk can be taken, and when the source has ended. */
  constructor(source: UploadSource, reject: Reject, onReady: () => void) {
    this.#source = source;
    this.#reject = reject;
    this.#onReady = onReady;
  }

  /** Sequence of the last chunk that was taken or skipped. */
  get lastSequence(): number {
    return this.#lastSequence;
  }

  /** Whether the source has ended, for whatever reason, and its last chunk was taken. */
  get hasEnded(): boolean {
    return this.#hasEnded && this.#events.length === 0;
  }

  /** What the source threw; the events before still come as chunks. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  /** Starts reading after the events that are already committed, on the first call. */
  begin(start: () => ChunkerStart): void {
    if (this.#reading === undefined) {
      const { maxEvents, maxBytes, afterSequence, skipEvents } = start();
      this.#lastSequence = afterSequence;
      this.#skipEvents = skipEvents;
      this.#reading = this.#read(maxEvents, maxBytes);
    }
  }

  /** The next chunk, if one is ready. */
  take(): Chunk | undefined {
    if (this.#events.length === 0 || !(this.#isReady || this.#hasEnded)) {
      return undefined;
    }
    this.#lastSequence += 1;
    const chunk = new Chunk(this.#lastSequence, this.#firstPosition, this.#events);
    this.#events = [];
    this.#bytes = 0;
    this.#isReady = false;
    clearTimeout(this.#flushTimer);
    this.#taken.wake();
    return chunk;
  }

  /** Stops reading. A source that is just being asked for an event ends after it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#flushTimer);
    if (this.#isParked) {
      this.#taken.wake();
      await this.#reading;
    }
  }

  async #read(maxEvents: number, maxBytes: number): Promise<void> {
    try {
      await this.#readSource(maxEvents, maxBytes);
      this.#requireAllSkipped();
    } catch (error) {
      this.#failure = { error };
    }
    this.#hasEnded = true;
    this.#onReady();
  }

  async #readSource(maxEvents: number, maxBytes: number): Promise<void> {
    for await (const init of this.#source) {
      const event = create(EventSchema, init);
      // Now, not when the chunk is sent: this determines the size, and the source may modify its event later.
      const serialized = serializeEvent(event);
      const sizeBytes = serialized.length + FRAMING_BYTES;
      if (this.#bytes + sizeBytes > maxBytes) {
        await this.#complete();
      }
      if (this.#isClosed) {
        return;
      }
      if (sizeBytes > maxBytes) {
        this.#reject(this.#position, event, tooLarge(sizeBytes, maxBytes));
      } else if (this.#skipEvents > 0) {
        await this.#skip();
      } else {
        this.#add(event.eventId === "" ? withEventId(serialized, uuid7()) : serialized, sizeBytes);
      }
      this.#position += 1;
      if (this.#events.length >= maxEvents) {
        await this.#complete();
      }
    }
  }

  async #skip(): Promise<void> {
    this.#skipEvents -= 1;
    if (this.#skipEvents % EVENTS_BETWEEN_PAUSES === 0) {
      await setImmediate();
    }
  }

  #add(serialized: Uint8Array, sizeBytes: number): void {
    if (this.#events.length === 0) {
      this.#firstPosition = this.#position;
      this.#flushTimer = setTimeout(() => {
        this.#becomeReady();
      }, FLUSH_MS);
    }
    this.#events.push(serialized);
    this.#bytes += sizeBytes;
  }

  /** Marks the chunk as complete and waits until it is taken. */
  async #complete(): Promise<void> {
    const events = this.#events;
    if (events.length > 0) {
      this.#becomeReady();
      this.#isParked = true;
      while (this.#events === events && !this.#isClosed) {
        await this.#taken.wait();
      }
      // Lets the event loop pass the chunk to the network before the source is read again.
      await setImmediate();
      this.#isParked = false;
    }
  }

  #becomeReady(): void {
    this.#isReady = true;
    this.#onReady();
  }

  #requireAllSkipped(): void {
    if (this.#skipEvents > 0 && !this.#isClosed) {
      throw new EngagementError(
        `the source ends ${this.#skipEvents} events before the point that the upload has reached: ` +
          "it is not the source that the upload began with",
        { kind: "source_mismatch" },
      );
    }
  }
}

/** The error of an event too large for any chunk, in the server's terms. */
function tooLarge(sizeBytes: number, maxBytes: number): EventError {
  const description = `must take at most ${maxBytes - FRAMING_BYTES} bytes, takes ${sizeBytes - FRAMING_BYTES}`;
  return create(EventErrorSchema, {
    reason: ErrorReason.FIELD_INVALID,
    message: `the event ${description}`,
    violations: [{ rule: "server.event.max_bytes", description }],
    violationsTotal: 1,
  });
}
