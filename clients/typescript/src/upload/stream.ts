/** One connection of an upload: opens it, sends what is not committed, processes the server's messages. */

import { durationMs } from "@bufbuild/protobuf/wkt";

import { EngagementError } from "../errors.js";
import type {
  IngestService,
  Upload,
  UploadEventsRequestSchema,
  UploadEventsResponse,
  UploadEventsResponse_Opened,
  UploadEventsResponseSchema,
  UploadResult,
} from "../gen/engagement/v1/index.js";
import type { Outage } from "../outage.js";
import type { RpcCall } from "../rpc-call.js";
import type { Stub } from "../stub.js";
import { Wakeup } from "../wakeup.js";
import type { Chunk } from "./chunk.js";
import type { Chunker } from "./chunker.js";
import type { UploadLedger } from "./ledger.js";
import { SourceDigester } from "./source.js";

/** The state that an upload's connections share. */
export interface UploadContext {
  readonly ingest: Stub<typeof IngestService>;
  readonly accountId: string;
  readonly uploadId: string;
  readonly timeoutSeconds: number;
  readonly chunkEvents: number | undefined;
  readonly keepGoing: boolean;
  readonly signal: AbortSignal;
  readonly chunker: Chunker;
  readonly ledger: UploadLedger;
  readonly outage: Outage;
  /** Woken when there may be something to send. */
  readonly sending: Wakeup;
}

const STATUS_SECONDS = 2;
const REJECTIONS_PAGE_SIZE = 1000;

/** Continues an upload until it is finished, the source has failed, or the connection is lost. */
export class UploadStream {
  readonly #context: UploadContext;
  readonly #call: RpcCall<typeof UploadEventsRequestSchema, typeof UploadEventsResponseSchema>;
  #silenceSeconds: number;
  #maxUnackedChunks = 1;
  #reconnectDelaySeconds: number | undefined;
  #isOpen = false;
  #isClosing = false;
  #hasEnded = false;

  constructor(context: UploadContext) {
    this.#context = context;
    this.#call = context.ingest.uploadEvents({ signal: context.signal });
    this.#silenceSeconds = context.timeoutSeconds;
  }

  /** Resolves once all events that the source yielded are committed; rejects with an EngagementError before. */
  async run(): Promise<void> {
    const sending = this.#send().catch((error: unknown) => {
      this.#call.cancel(error);
    });
    try {
      await this.#receive();
    } finally {
      this.#hasEnded = true;
      this.#context.sending.wake();
      this.#call.cancel(new DOMException("the upload needs the call no longer", "AbortError"));
      await sending;
    }
    const { ledger, chunker } = this.#context;
    const hasSourceFailed = chunker.failure !== undefined && chunker.hasEnded;
    if (!ledger.isFinished && (!hasSourceFailed || ledger.unacked.length > 0)) {
      throw new EngagementError("the server closed the stream", {
        kind: "unavailable",
        retryDelaySeconds: this.#reconnectDelaySeconds,
      });
    }
  }

  async #receive(): Promise<void> {
    while (!this.#context.ledger.isFinished) {
      const response = await this.#call.read(this.#silenceSeconds);
      if (response === undefined) {
        return;
      }
      await this.#take(response.message);
    }
  }

  async #take(message: UploadEventsResponse["message"]): Promise<void> {
    switch (message.case) {
      case "opened":
        await this.#begin(message.value);
        break;
      case "ack":
        if (this.#context.ledger.acknowledge(message.value)) {
          this.#context.outage.end();
        }
        break;
      case "closing":
        this.#isClosing = true;
        this.#reconnectDelaySeconds = message.value.reconnectDelay && durationMs(message.value.reconnectDelay) / 1000;
        break;
      case "finished":
        await this.#catchUp(message.value.upload);
        this.#requireOwnEnd();
        await this.#awaitStatus();
        break;
      case undefined:
        break;
    }
    this.#context.sending.wake();
  }

  #requireOwnEnd(): void {
    const { ledger, chunker, uploadId } = this.#context;
    if (chunker.hasBegun && !chunker.isComparing && ledger.isFinishedByAnother) {
      throw continuedByAnother(uploadId);
    }
  }

  async #begin(opened: UploadEventsResponse_Opened): Promise<void> {
    const { ledger, chunker, ingest, accountId, uploadId, signal } = this.#context;
    this.#maxUnackedChunks = Math.max(1, opened.maxUnackedChunks);
    if (opened.heartbeatInterval !== undefined) {
      this.#silenceSeconds = (2 * durationMs(opened.heartbeatInterval)) / 1000 || this.#silenceSeconds;
    }
    if (chunker.hasBegun && !ledger.isOwnProgress(opened)) {
      throw continuedByAnother(uploadId);
    }
    const isResumed = !chunker.hasBegun && opened.source !== undefined;
    if (isResumed || Number(opened.committedThrough) > ledger.committedThrough) {
      const response = await ingest.getUpload({ accountId, uploadId, pageSize: 1 }, { signal });
      await this.#catchUp(response.upload);
      this.#context.outage.end();
    }
    if (!chunker.hasBegun) {
      this.#beginSource(opened);
    }
    this.#isOpen = !ledger.isFinished;
  }

  #beginSource({ source, ...opened }: UploadEventsResponse_Opened): void {
    const { ledger, chunker, chunkEvents, uploadId } = this.#context;
    const { isFinished } = ledger;
    const skipEvents = ledger.resume(source);
    if (isFinished && source === undefined) {
      return;
    }
    const committed = source && { committed: source, earlier: opened.earlierSources, isFinished };
    chunker.begin({
      maxEvents: Math.min(chunkEvents ?? opened.maxChunkEvents, opened.maxChunkEvents),
      maxBytes: Number(opened.maxChunkBytes),
      afterSequence: Number(opened.committedThrough),
      digester: new SourceDigester(uploadId, opened.sourceSalt, committed),
      skipEvents,
      isFinished,
    });
  }

  /** Processes commits whose acks were lost. */
  async #catchUp(upload: Upload | undefined): Promise<void> {
    const { ledger } = this.#context;
    if (upload !== undefined) {
      ledger.catchUp(upload, ledger.missesRejections(upload) ? await this.#readRejections() : []);
    }
  }

  async #readRejections(): Promise<UploadResult[]> {
    const { ingest, accountId, uploadId, ledger, signal } = this.#context;
    const firstSequence = ledger.committedThrough + 1;
    const rejections: UploadResult[] = [];
    let pageToken = "";
    do {
      const page = await ingest.getUpload(
        { accountId, uploadId, pageSize: REJECTIONS_PAGE_SIZE, pageToken },
        { signal },
      );
      rejections.push(...page.rejections.filter(({ chunkSequence }) => chunkSequence >= firstSequence));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return rejections;
  }

  /** Lets the server end the call, which it does at once; otherwise it would see a cancellation. */
  async #awaitStatus(): Promise<void> {
    await this.#call.read(STATUS_SECONDS).catch(() => undefined);
  }

  /** The sending side. It stops quietly when the call ends: the reading side knows why. */
  async #send(): Promise<void> {
    const { accountId, uploadId, keepGoing, chunker, ledger, sending } = this.#context;
    await this.#call.write({ message: { case: "open", value: { accountId, uploadId, keepGoing } } });
    while (!this.#isOpen && !this.#mayNotSend) {
      await sending.wait();
    }
    for (const chunk of [...ledger.unacked]) {
      await this.#sendChunk(chunk);
    }
    for (let chunk = await this.#nextChunk(); chunk !== undefined; chunk = await this.#nextChunk()) {
      ledger.add(chunk);
      await this.#sendChunk(chunk);
    }
    if (!this.#mayNotSend && chunker.failure === undefined) {
      const finish = { lastSequence: BigInt(chunker.lastSequence), source: chunker.source };
      ledger.finish(finish.source);
      await this.#call.write({ message: { case: "finish", value: finish } });
    }
    this.#call.halfClose();
  }

  /** The next chunk, once the server has room for it; undefined if nothing more is to be sent. */
  async #nextChunk(): Promise<Chunk | undefined> {
    const { chunker, ledger, sending } = this.#context;
    while (!this.#mayNotSend) {
      if (ledger.unacked.length < this.#maxUnackedChunks) {
        const chunk = chunker.take();
        if (chunk !== undefined || chunker.hasEnded) {
          return chunk;
        }
      }
      await sending.wait();
    }
    return undefined;
  }

  async #sendChunk(chunk: Chunk): Promise<void> {
    // Not if it was acked meanwhile, or the connection must not be used any more.
    if (chunk.sequence > this.#context.ledger.committedThrough && !this.#mayNotSend) {
      await this.#call.writeSerialized(chunk.serialize());
    }
  }

  get #mayNotSend(): boolean {
    return this.#isClosing || this.#hasEnded;
  }
}

function continuedByAnother(uploadId: string): EngagementError {
  return new EngagementError(
    `another client has continued upload ${JSON.stringify(uploadId)} with another source. Use an upload id of its own ` +
      "for each source",
    { kind: "source_mismatch" },
  );
}
