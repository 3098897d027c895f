/** Cuts a source of events into chunks, and reads it no faster than they are taken. */

import { setImmediate } from "node:timers/promises";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { EngagementError } from "../errors.js";
import { type Event, type EventError, EventSchema, type SourceDigest } from "../gen/engagement/v1/index.js";
import { Wakeup } from "../wakeup.js";
import { Chunk, serializeEvent } from "./chunk.js";
import { notUnicode, tooLarge } from "./rejection.js";
import type { SourceDigester } from "./source.js";

/** An event, or a plain object with the fields of one. */
export type EventInit = MessageInitShape<typeof EventSchema>;

/** The source of an upload's events. */
export type UploadSource = Iterable<EventInit> | AsyncIterable<EventInit>;

/** Receives an event that cannot be sent. */
export type Reject = (position: number, event: Event, error: EventError) => void;

/** Where an upload continues, and the limits of its chunks. */
export interface ChunkerStart {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Sequence of the last chunk that is committed. */
  readonly afterSequence: number;
  /** Digests the source, and compares its committed beginning, which is not sent again. */
  readonly digester: SourceDigester;
  /** Number of events to skip without a comparison, because the run that committed them sent no digest. */
  readonly skipEvents: number;
  /** Whether the upload is finished: then the source is only compared. */
  readonly isFinished: boolean;
}

const FLUSH_MS = 200;
// Covers an event's tag and length, and its share of the enclosing message.
const FRAMING_BYTES = 64;
// The contract's limit, which GetServerInfo names maxEventBytes.
const MAX_EVENT_BYTES = 3_584 * 1024;
const EVENTS_BETWEEN_PAUSES = 1024;
const EMPTY_FORM = new Uint8Array();

/**
 * Reads a source in a task of its own and keeps the events of one chunk ready.
 *
 * A chunk is complete when it is full; a larger event is alone in its chunk. If the source pauses, a chunk is ready as
 * it is, so that an endless source never lags far behind. An event that is larger than events may be, or has a text
 * that is not Unicode, is rejected here.
 */
export class Chunker {
  readonly #source: UploadSource;
  readonly #reject: Reject;
  readonly #onReady: () => void;
  readonly #taken = new Wakeup();
  #start: ChunkerStart | undefined;
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

  /** Whether the source is being read. */
  get hasBegun(): boolean {
    return this.#start !== undefined;
  }

  /** Whether the source is only compared with that of a finished upload. */
  get isComparing(): boolean {
    return this.#start?.isFinished === true;
  }

  /** Digest of the source as far as it was read. */
  get source(): SourceDigest | undefined {
    return this.#start?.digester.digest();
  }

  /** Starts reading. */
  begin(start: ChunkerStart): void {
    this.#start = start;
    this.#lastSequence = start.afterSequence;
    this.#skipEvents = start.skipEvents;
    this.#reading = this.#read(start);
  }

  /** The next chunk, if one is ready. */
  take(): Chunk | undefined {
    if (this.#start === undefined || this.#events.length === 0 || !(this.#isReady || this.#hasEnded)) {
      return undefined;
    }
    this.#lastSequence += 1;
    const source = this.#start.digester.digest();
    const chunk = new Chunk(this.#lastSequence, this.#firstPosition, this.#events, source);
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

  async #read(start: ChunkerStart): Promise<void> {
    try {
      await this.#readSource(start);
      if (!this.#isClosed) {
        start.digester.end();
        this.#requireAllSkipped();
      }
    } catch (error) {
      this.#failure = { error };
    }
    this.#hasEnded = true;
    this.#onReady();
  }

  async #readSource({ maxEvents, maxBytes, digester }: ChunkerStart): Promise<void> {
    for await (const init of this.#source) {
      const event = create(EventSchema, init);
      // Now, not when the chunk is sent: this determines the size, and the source may modify its event later.
      const { form, error } = encode(event);
      const sizeBytes = form.length + FRAMING_BYTES;
      // The digest of a chunk covers its own events only: it is taken before another event is digested.
      if (error !== undefined || this.#bytes + sizeBytes > maxBytes) {
        await this.#complete();
      }
      if (this.#isClosed) {
        return;
      }
      const isCommitted = digester.isComparing;
      digester.add(form);
      if (error !== undefined) {
        this.#reject(this.#position, event, error);
      } else if (this.#skipEvents > 0) {
        this.#skipEvents -= 1;
      } else if (!isCommitted) {
        this.#add(form, sizeBytes);
      }
      this.#position += 1;
      if (this.#events.length >= maxEvents) {
        await this.#complete();
      } else if (this.#events.length === 0 && this.#position % EVENTS_BETWEEN_PAUSES === 0) {
        // Nothing to send: lets the event loop run.
        await setImmediate();
      }
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
    if (this.#skipEvents > 0) {
      throw new EngagementError(
        `the source ends ${this.#skipEvents} events before the point that the upload has reached: ` +
          "it is not the source that the upload began with. Use an upload id of its own for each source",
        { kind: "source_mismatch" },
      );
    }
  }
}

/** The canonical form of an event, and why it cannot be sent. */
function encode(event: Event): { readonly form: Uint8Array; readonly error?: EventError } {
  try {
    const form = serializeEvent(event);
    return form.length > MAX_EVENT_BYTES ? { form, error: tooLarge(form.length, MAX_EVENT_BYTES) } : { form };
  } catch (error) {
    if (error instanceof EngagementError) {
      return { form: EMPTY_FORM, error: notUnicode(error) };
    }
    throw error;
  }
}
