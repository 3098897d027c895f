/** The books of one upload: what is on the way, the totals, and what the caller is told of both. */

import { create } from "@bufbuild/protobuf";

import {
  type Event,
  type EventError,
  Outcome,
  type Tally,
  TallySchema,
  type Upload,
  Upload_State,
  type UploadEventsResponse_Ack,
  type UploadResult,
} from "../gen/engagement/v1/index.js";
import type { Chunk } from "./chunk.js";

/** How far an upload is, counted in events of its source. */
export interface UploadProgress {
  /** Events given to the connection, in this run or in an earlier one. */
  readonly sent: number;
  /** Events with an outcome: those of the tally together. */
  readonly acknowledged: number;
  /** What became of them. */
  readonly tally: Tally;
  /** How many connections were lost. */
  readonly reconnects: number;
}

/** An event that was refused. */
export interface RejectedEvent {
  /** Position in the source, from 0. */
  readonly position: number;
  /** The event as sent, with the id that it got where it had none. */
  readonly event: Event;
  /** Why, with paths from the event. */
  readonly error: EventError;
}

/** A finished upload. */
export interface UploadSummary {
  /** Name of the upload, which gives this summary again. */
  readonly uploadId: string;
  /** Totals of the whole upload, of earlier runs too, and of the events that the client itself refused. */
  readonly tally: Tally;
  /** Events of the whole upload; every one has one of the tally's outcomes. */
  readonly events: number;
  /** How many connections were lost. */
  readonly reconnects: number;
  /** Events of the source that an earlier run had committed. Their rejections are in `GetUpload`. */
  readonly skippedEvents: number;
}

/** What the caller wants to be told while an upload runs. */
export interface UploadListeners {
  /** Is called at every ack and every reconnect. What it throws ends the upload. */
  readonly onProgress?: ((progress: UploadProgress) => void) | undefined;
  /** Is called for each event that is refused in this run, once. What it throws ends the upload. */
  readonly onRejection?: ((rejected: RejectedEvent) => void) | undefined;
}

/**
 * Keeps the chunks that are not known to be committed, and tells the caller what became of events.
 *
 * Each rejection is told once, with the event's position in the source, whatever connections are lost.
 */
export class UploadLedger {
  readonly #listeners: UploadListeners;
  readonly #unacked: Chunk[] = [];
  #committedThrough = 0;
  #skippedEvents = 0;
  #isFinished = false;
  #tally = create(TallySchema);
  #sent = 0;
  #refused = 0;
  #reconnects = 0;

  constructor(listeners: UploadListeners) {
    this.#listeners = listeners;
  }

  /** Chunks to send again after a lost connection; the stream bounds their number. */
  get unacked(): readonly Chunk[] {
    return this.#unacked;
  }

  /** Sequence of the last chunk that is known to be committed. */
  get committedThrough(): number {
    return this.#committedThrough;
  }

  /** Whether the upload takes no more chunks. */
  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** Begins behind what an earlier run had committed; how many events that is. */
  skipCommitted(): number {
    this.#skippedEvents = total(this.#tally);
    this.#sent = this.#skippedEvents;
    return this.#skippedEvents;
  }

  /** A chunk is about to be sent. */
  add(chunk: Chunk): void {
    this.#unacked.push(chunk);
    this.#sent = chunk.endPosition;
  }

  /** Takes in an ack; whether the upload moves or has nothing to wait for. */
  acknowledge(ack: UploadEventsResponse_Ack): boolean {
    const hasMoved = Number(ack.committedThrough) > this.#committedThrough;
    this.#settle(ack.committedThrough, ack.tally, ack.results);
    return hasMoved || this.#unacked.length === 0;
  }

  /** Whether rejections of chunks on the way were not heard of. */
  missesRejections(upload: Upload): boolean {
    const hasMore = (upload.tally?.rejected ?? 0n) > this.#tally.rejected;
    return hasMore && this.#unacked.length > 0 && this.#listeners.onRejection !== undefined;
  }

  /** Takes in the state of the upload, with the rejections that were not heard of. */
  catchUp(upload: Upload, missed: readonly UploadResult[]): void {
    this.#settle(upload.committedThrough, upload.tally, missed);
    this.#isFinished = upload.state === Upload_State.FINISHED;
  }

  /** An event that cannot be sent at all. */
  readonly refuse = (position: number, event: Event, error: EventError): void => {
    this.#refused += 1;
    this.#listeners.onRejection?.({ position, event, error });
  };

  /** The connection was lost and is made again. */
  noteReconnect(): void {
    this.#reconnects += 1;
    this.#reportProgress();
  }

  /** The summary of the finished upload. */
  summarize(uploadId: string): UploadSummary {
    const tally = this.#fullTally();
    return {
      uploadId,
      tally,
      events: total(tally),
      reconnects: this.#reconnects,
      skippedEvents: this.#skippedEvents,
    };
  }

  #settle(committedThrough: bigint, tally: Tally | undefined, results: readonly UploadResult[]): void {
    this.#reportRejections(results);
    this.#committedThrough = Number(committedThrough);
    this.#tally = tally ?? create(TallySchema);
    const remaining = this.#unacked.findIndex((chunk) => chunk.sequence > this.#committedThrough);
    this.#unacked.splice(0, remaining < 0 ? this.#unacked.length : remaining);
    this.#reportProgress();
  }

  #reportRejections(results: readonly UploadResult[]): void {
    const { onRejection } = this.#listeners;
    if (onRejection === undefined) {
      return;
    }
    for (const { chunkSequence, result } of results) {
      if (result?.outcome !== Outcome.REJECTED || result.error === undefined) {
        continue;
      }
      const { index, error } = result;
      const chunk = this.#unacked.find(({ sequence }) => sequence === Number(chunkSequence));
      const event = chunk?.event(index);
      // A lost connection can cut the results of a chunk in two, and all of them come again.
      if (chunk !== undefined && event !== undefined && !chunk.reported.has(index)) {
        chunk.reported.add(index);
        onRejection({ position: chunk.firstPosition + index, event, error });
      }
    }
  }

  #reportProgress(): void {
    const { onProgress } = this.#listeners;
    if (onProgress !== undefined) {
      const tally = this.#fullTally();
      onProgress({ sent: this.#sent, acknowledged: total(tally), tally, reconnects: this.#reconnects });
    }
  }

  #fullTally(): Tally {
    return create(TallySchema, { ...this.#tally, rejected: this.#tally.rejected + BigInt(this.#refused) });
  }
}

/** Number of events in a tally. */
function total({ accepted, duplicate, rejected, suppressed }: Tally): number {
  return Number(accepted + duplicate + rejected + suppressed);
}
