/** Bulk upload that survives lost connections, server restarts and client crashes. */

import { EngagementError } from "../errors.js";
import { Outage, sleep } from "../outage.js";
import { Wakeup } from "../wakeup.js";
import { Chunker, type UploadSource } from "./chunker.js";
import { type UploadCallbacks, UploadLedger, type UploadSummary } from "./ledger.js";
import { type UploadContext, UploadStream } from "./stream.js";

/** Options of an upload. */
export interface UploadOptions extends UploadCallbacks {
  /**
   * Id of the upload, under which it can be resumed; by default a new UUIDv7. It names one source: derive it from what
   * identifies the source, such as its name and day.
   */
  readonly uploadId?: string | undefined;
  /** Maximum number of events in a chunk; by default as many as the server allows. */
  readonly chunkEvents?: number | undefined;
  /**
   * Whether the upload goes on even if the server rejects all its events; by default it then ends with the reason
   * UPLOAD_ALL_REJECTED.
   */
  readonly keepGoing?: boolean | undefined;
  /** How long to keep reconnecting without progress, in seconds; 300 by default. */
  readonly maxOutageSeconds?: number | undefined;
  /** Cancels the upload, which then rejects with the signal's reason and stays open. */
  readonly signal?: AbortSignal | undefined;
}

/** What an upload needs of its client. */
export interface Uploading extends Pick<UploadContext, "ingest" | "accountId" | "uploadId" | "timeoutSeconds"> {
  /** Whether there may be another token after one has expired. */
  readonly renewsToken: boolean;
  /** Aborts when the client is closed. */
  readonly closing: AbortSignal;
}

/** Opens connection after connection until everything is committed. */
export async function upload(
  uploading: Uploading,
  source: UploadSource,
  options: UploadOptions,
): Promise<UploadSummary> {
  const sending = new Wakeup();
  const ledger = new UploadLedger(options);
  const chunker = new Chunker(source, ledger.reject, () => {
    sending.wake();
  });
  const outage = new Outage(options.maxOutageSeconds, uploading.renewsToken);
  const { chunkEvents, keepGoing = false } = options;
  const signal = AbortSignal.any([uploading.closing, ...(options.signal === undefined ? [] : [options.signal])]);
  const context: UploadContext = { ...uploading, chunkEvents, keepGoing, signal, chunker, ledger, outage, sending };
  try {
    await connectUntilDone(context);
    await compareToEnd(context);
  } finally {
    await chunker.close();
  }
  if (chunker.failure !== undefined) {
    throw chunker.failure.error;
  }
  return ledger.summarize(uploading.uploadId);
}

async function connectUntilDone(context: UploadContext): Promise<void> {
  for (;;) {
    try {
      await new UploadStream(context).run();
      return;
    } catch (error) {
      if (!(error instanceof EngagementError)) {
        throw error;
      }
      await sleep(context.outage.delayAfter(error), context.signal);
      context.ledger.noteReconnect();
    }
  }
}

/** Reads the rest of a source that is only compared, because its upload is finished. */
async function compareToEnd({ chunker, sending, signal }: UploadContext): Promise<void> {
  const wake = (): void => {
    sending.wake();
  };
  signal.addEventListener("abort", wake, { once: true });
  while (chunker.isComparing && !chunker.hasEnded) {
    signal.throwIfAborted();
    await sending.wait();
  }
  signal.removeEventListener("abort", wake);
}
