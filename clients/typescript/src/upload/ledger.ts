/** The ledger of one upload: the chunks in flight, the totals, and the caller's callbacks. */

import { create } from "@bufbuild/protobuf";

import {
  type Event,
  type EventError,
  Outcome,
  type SourceDigest,
  type Tally,
  TallySchema,
  type Upload,
  Upload_State,
  type UploadEventsResponse_Ack,
  type UploadEventsResponse_Opened,
  type UploadResult,
} from "../gen/engagement/v1/index.js";
import type { Chunk } from "./chunk.js";

/** The progress of an upload, in events of its source. */
export interface UploadProgress {
  /** Number of events passed to the connection, in this run or an earlier one. */
  readonly sent: number;
  /** Number of events with an outcome, which is the sum of the tally. */
  readonly acknowledged: number;
  /** Number of events by outcome. */
  readonly tally: Tally;
  /** Number of lost connections. */
  readonly reconnects: number;
}

/** An event that was rejected. */
export interface RejectedEvent {
  /** Position in the source, from 0. */
  readonly position: number;
  /** The event as sent, or as the source gave it if the client itself rejected it. */
  readonly event: Event;
  /** Why, with paths from the event. */
  readonly error: EventError;
}

/** The result of a finished upload. */
export interface UploadSummary {
  /** Id of the upload. */
  readonly uploadId: string;
  /** Totals of the whole upload, including earlier runs and events rejected by the client itself. */
  readonly tally: Tally;
  /** Number of events of the whole upload; each has one of the tally's outcomes. */
  readonly events: number;
  /** Number of lost connections. */
  readonly reconnects: number;
  /** Number of the source's events that an earlier run had committed. `GetUpload` has their rejections. */
  readonly skippedEvents: number;
  /**
   * Whether these were skipped by their number and not compared, because the earlier run sent no digest of its source.
   */
  readonly resumedByCount: boolean;
}

/** Callbacks of a running upload. */
export interface UploadCallbacks {
  /** Called at every ack and every reconnect. If it throws, the upload ends with the error. */
  readonly onProgress?: ((progress: UploadProgress) => void) | undefined;
  /** Called once for each event rejected in this run. If it throws, the upload ends with the error. */
  readonly onRejection?: ((rejected: RejectedEvent) => void) | undefined;
}

/**
 * Holds the chunks that are not known to be committed, and reports outcomes to the caller.
 *
 * Each rejection is reported once, with the event's position in the source, whatever connections are lost.
 */
export class UploadLedger {
  readonly #callbacks: UploadCallbacks;
  readonly #unacked: Chunk[] = [];
  #committedThrough = 0;
  #skippedEvents = 0;
  #resumedByCount = false;
  /** Digest of the source up to the last chunk that is known to be committed. */
  #source: SourceDigest | undefined;
  /** Digest of the whole source, once `finish` is sent. */
  #wholeSource: SourceDigest | undefined;
  #isFinished = false;
  #tally = create(TallySchema);
  #sent = 0;
  #rejectedHere = 0;
  #reconnects = 0;

  constructor(callbacks: UploadCallbacks) {
    this.#callbacks = callbacks;
  }

  /** Chunks to resend after a lost connection; the stream bounds their number. */
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

  /**
   * Starts after the events that earlier runs committed; `committed` is their digest.
   *
   * Returns how many events to skip by their number, if there is no digest.
   */
  resume(committed: SourceDigest | undefined): number {
    this.#source = committed;
    this.#skippedEvents = committed === undefined ? total(this.#tally) : Number(committed.events);
    this.#sent = this.#skippedEvents;
    this.#resumedByCount = committed === undefined && this.#skippedEvents > 0;
    return this.#resumedByCount ? this.#skippedEvents : 0;
  }

  /** Whether a reopened upload is where this run has brought it, and no other client has continued it. */
  isOwnProgress({ committedThrough, source }: UploadEventsResponse_Opened): boolean {
    const committed = this.#unacked.findLast(({ sequence }) => sequence <= Number(committedThrough));
    const expected = committed?.source ?? this.#source;
    const lastSequence = this.#unacked.at(-1)?.sequence ?? this.#committedThrough;
    return (
      Number(committedThrough) <= lastSequence &&
      (source === undefined || expected === undefined || isSame(source, expected) || isSame(source, this.#wholeSource))
    );
  }

  /** Whether the upload is finished before this run has sent all of its source. */
  get isFinishedByAnother(): boolean {
    return this.#isFinished && (this.#wholeSource === undefined || this.#unacked.length > 0);
  }

  /** Adds a chunk that is about to be sent. */
  add(chunk: Chunk): void {
    this.#unacked.push(chunk);
    this.#sent = chunk.endPosition;
  }

  /** Notes the digest of the whole source, which is about to be sent. */
  finish(wholeSource: SourceDigest | undefined): void {
    this.#wholeSource = wholeSource;
  }

  /** Processes an ack, and returns whether it is progress: the upload moved, or waits for nothing. */
  acknowledge(ack: UploadEventsResponse_Ack): boolean {
    const hasMoved = Number(ack.committedThrough) > this.#committedThrough;
    this.#settle(ack.committedThrough, ack.tally, ack.results);
    return hasMoved || this.#unacked.length === 0;
  }

  /** Whether rejections in chunks in flight were not reported to this client. */
  missesRejections(upload: Upload): boolean {
    const hasMore = (upload.tally?.rejected ?? 0n) > this.#tally.rejected;
    return hasMore && this.#unacked.length > 0 && this.#callbacks.onRejection !== undefined;
  }

  /** Processes the state of the upload and the rejections that it missed. */
  catchUp(upload: Upload, missed: readonly UploadResult[]): void {
    this.#settle(upload.committedThrough, upload.tally, missed);
    this.#isFinished = upload.state === Upload_State.FINISHED;
  }

  /** Processes an event that cannot be sent at all. */
  readonly reject = (position: number, event: Event, error: EventError): void => {
    this.#rejectedHere += 1;
    this.#callbacks.onRejection?.({ position, event, error });
  };

  /** Counts a connection that was lost and is re-established. */
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
      resumedByCount: this.#resumedByCount,
    };
  }

  #settle(committedThrough: bigint, tally: Tally | undefined, results: readonly UploadResult[]): void {
    this.#reportRejections(results);
    this.#committedThrough = Number(committedThrough);
    this.#tally = tally ?? create(TallySchema);
    const remaining = this.#unacked.findIndex((chunk) => chunk.sequence > this.#committedThrough);
    const committed = this.#unacked.splice(0, remaining < 0 ? this.#unacked.length : remaining);
    this.#source = committed.at(-1)?.source ?? this.#source;
    this.#reportProgress();
  }

  #reportRejections(results: readonly UploadResult[]): void {
    const { onRejection } = this.#callbacks;
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
      // If a lost connection cuts the results of a chunk in two, all of them come again.
      if (chunk !== undefined && event !== undefined && !chunk.reported.has(index)) {
        chunk.reported.add(index);
        onRejection({ position: chunk.firstPosition + index, event, error });
      }
    }
  }

  #reportProgress(): void {
    const { onProgress } = this.#callbacks;
    if (onProgress !== undefined) {
      const tally = this.#fullTally();
      onProgress({ sent: this.#sent, acknowledged: total(tally), tally, reconnects: this.#reconnects });
    }
  }

  #fullTally(): Tally {
    return create(TallySchema, { ...this.#tally, rejected: this.#tally.rejected + BigInt(this.#rejectedHere) });
  }
}

/** Number of events in a tally. */
function total({ accepted, duplicate, rejected, suppressed }: Tally): number {
  return Number(accepted + duplicate + rejected + suppressed);
}

function isSame(one: SourceDigest, other: SourceDigest | undefined): boolean {
  return one.events === other?.events && one.sha256 === other.sha256;
}
