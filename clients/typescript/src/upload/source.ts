/** Identifies the source of an upload, as the contract's `SourceDigest` defines it. */

import { createHash } from "node:crypto";

import { create } from "@bufbuild/protobuf";

import { EngagementError } from "../errors.js";
import { type SourceDigest, SourceDigestSchema } from "../gen/engagement/v1/index.js";

/** What earlier runs have committed of a source. */
export interface CommittedSource {
  /** The committed beginning, or all of the source if the upload is finished. */
  readonly committed: SourceDigest;
  /** Shorter beginnings, which tell where another source begins to differ. */
  readonly earlier: readonly SourceDigest[];
  readonly isFinished: boolean;
}

const BUFFER_BYTES = 64 * 1024;
const LENGTH_BYTES = 4;

/** Digests the events of a source, in order, and compares them with those of earlier runs. */
export class SourceDigester {
  readonly #uploadId: string;
  readonly #hash = createHash("sha256");
  // Each update of the hash is a call into the system's library: small forms are collected.
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  readonly #known = new Map<number, string>();
  readonly #committedEvents: number;
  readonly #isFinished: boolean;
  #bufferedBytes = 0;
  #events = 0;
  #sameEvents = 0;

  constructor(uploadId: string, salt: string, source?: CommittedSource) {
    this.#uploadId = uploadId;
    this.#hash.update(salt);
    this.#committedEvents = Number(source?.committed.events ?? 0);
    this.#isFinished = source?.isFinished ?? false;
    for (const { events, sha256 } of source === undefined ? [] : [...source.earlier, source.committed]) {
      this.#known.set(Number(events), sha256);
    }
  }

  /** Whether the next event is compared with an earlier run's, and not sent again. */
  get isComparing(): boolean {
    return this.#isFinished || this.#events < this.#committedEvents;
  }

  /** Adds the canonical form of the next event. Throws a `source_mismatch` if it is another source. */
  add(form: Uint8Array): void {
    const wasComparing = this.isComparing;
    this.#append(form);
    this.#events += 1;
    if (wasComparing) {
      this.#compare();
    }
  }

  /** The digest of the events so far. */
  digest(): SourceDigest {
    this.#flush();
    return create(SourceDigestSchema, {
      events: BigInt(this.#events),
      sha256: this.#hash.copy().digest("hex"),
    });
  }

  /** Throws a `source_mismatch` if the source, which ends here, is too short. */
  end(): void {
    if (this.#events < this.#committedEvents) {
      throw this.#mismatch(`ends after ${this.#events} events`);
    }
  }

  #append(form: Uint8Array): void {
    if (this.#bufferedBytes + LENGTH_BYTES + form.length > BUFFER_BYTES) {
      this.#flush();
    }
    this.#bufferedBytes = this.#buffer.writeUInt32BE(form.length, this.#bufferedBytes);
    if (LENGTH_BYTES + form.length > BUFFER_BYTES) {
      this.#flush();
      this.#hash.update(form);
    } else {
      this.#buffer.set(form, this.#bufferedBytes);
      this.#bufferedBytes += form.length;
    }
  }

  #flush(): void {
    this.#hash.update(this.#buffer.subarray(0, this.#bufferedBytes));
    this.#bufferedBytes = 0;
  }

  #compare(): void {
    if (this.#events > this.#committedEvents) {
      throw this.#mismatch("has more events");
    }
    const expected = this.#known.get(this.#events);
    if (expected === undefined) {
      return;
    }
    if (this.digest().sha256 !== expected) {
      throw this.#mismatch(`differs between events ${this.#sameEvents} and ${this.#events}`);
    }
    this.#sameEvents = this.#events;
  }

  #mismatch(difference: string): EngagementError {
    return new EngagementError(
      `upload ${JSON.stringify(this.#uploadId)} began with another source: ${this.#committedEvents} of its events ` +
        `are committed, and this source ${difference}. Use an upload id of its own for each source. If this should ` +
        "be the same source, see whether ids, times or the order of events change from run to run",
      { kind: "source_mismatch" },
    );
  }
}
