package io.github.engagementattributes;

import io.github.engagementattributes.v1.Event;
import io.grpc.Context;
import java.time.Duration;
import java.util.Iterator;
import java.util.concurrent.CancellationException;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Uploads a source of events of any length, in bounded memory, through lost connections, restarts
 * of the server and crashes of the client.
 *
 * <p>An upload is resumed by a new Uploader, of another process too, with the same upload id and
 * the same source from its start: the events that are committed are skipped by their number. An
 * upload that is finished gives its summary again and reads nothing. One upload id names one
 * source.
 *
 * <p>Memory holds the chunks that the server has not acked, at most as many as it allows, and the
 * next. {@link EngagementClient#uploader} makes Uploaders; each is for one run.
 */
public final class Uploader {
  private final EngagementClient client;
  private final String uploadId;
  private final int chunkEvents;
  private final Duration maxOutage;
  private final @Nullable Consumer<UploadProgress> onProgress;
  private final @Nullable Consumer<RejectedEvent> onRejection;
  private Context.@Nullable CancellableContext context;
  private boolean isCancelled;

  Uploader(UploaderBuilder builder) {
    client = builder.client;
    uploadId = builder.uploadId == null ? Uuid7.next() : builder.uploadId;
    chunkEvents = builder.chunkEvents;
    maxOutage = builder.maxOutage;
    onProgress = builder.onProgress;
    onRejection = builder.onRejection;
  }

  /**
   * The name of the upload.
   *
   * @return what the builder was given, or a new UUIDv7
   */
  public String uploadId() {
    return uploadId;
  }

  /**
   * Uploads all events of the source and finishes the upload.
   *
   * <p>Events without an id are sent with a UUIDv7. The source is read in a thread of its own, no
   * faster than the server commits, and may block for any time: what it gave before is sent
   * meanwhile. Where the upload ends before its source, that thread is interrupted and waited for,
   * up to two seconds.
   *
   * <p>What the source throws comes out of here after all that it gave before is committed; the
   * upload then stays open, as it does after a cancellation, an interruption and an error.
   *
   * @param events the source, in the same order in every run
   * @return the totals
   * @throws EngagementException {@code TAKEN_OVER} where a newer stream goes on with the upload,
   *     {@code SOURCE_MISMATCH} where the source is too short to be the one that the upload began
   *     with, the error that explains an outage that lasts too long, and any other at once
   * @throws CancellationException after {@link #cancel}, where the current {@link Context} is
   *     cancelled, or the client closed
   * @throws InterruptedException where the thread is interrupted
   */
  public UploadSummary upload(Iterator<Event> events) throws InterruptedException {
    Context.CancellableContext running = begin();
    Context previous = running.attach();
    try {
      return run(events, running);
    } catch (CancellationException error) {
      if (Thread.interrupted()) {
        InterruptedException interruption = new InterruptedException(error.getMessage());
        interruption.initCause(error);
        throw interruption;
      }
      throw error;
    } finally {
      running.detach(previous);
      running.cancel(null);
    }
  }

  /**
   * The same as {@link #upload(Iterator)}.
   *
   * @param events the source, in the same order in every run
   * @return the totals
   * @throws InterruptedException where the thread is interrupted
   */
  public UploadSummary upload(Iterable<Event> events) throws InterruptedException {
    return upload(events.iterator());
  }

  /**
   * The same as {@link #upload(Iterator)}.
   *
   * @param events the source, in the same order in every run; closing it is left to the caller
   * @return the totals
   * @throws InterruptedException where the thread is interrupted
   */
  public UploadSummary upload(Stream<Event> events) throws InterruptedException {
    return upload(events.iterator());
  }

  /**
   * Ends the upload for now, from any thread: {@link #upload(Iterator)} throws a
   * CancellationException. What is committed stays, and another Uploader can go on.
   */
  public synchronized void cancel() {
    isCancelled = true;
    if (context != null) {
      context.cancel(null);
    }
  }

  private synchronized Context.CancellableContext begin() {
    if (isCancelled) {
      throw new CancellationException("the upload was cancelled");
    }
    if (context != null) {
      throw new IllegalStateException("an Uploader is for one run; resume with a new one");
    }
    context = Context.current().withCancellation();
    return context;
  }

  private UploadSummary run(Iterator<Event> events, Context.CancellableContext running)
      throws InterruptedException {
    UploadLedger ledger = new UploadLedger(onProgress, onRejection);
    Throwable sourceError;
    try (Mailbox mailbox = new Mailbox();
        Chunker chunker = new Chunker(events, chunkEvents, mailbox::wake)) {
      running.addListener(cancelled -> mailbox.wake(), Runnable::run);
      connectUntilCommitted(chunker, ledger, mailbox, running);
      sourceError = chunker.error();
    }
    if (!ledger.isFinished() && sourceError != null) {
      Uploader.<RuntimeException>rethrow(sourceError);
    }
    return ledger.summarize(uploadId);
  }

  /** Makes one connection after the other until everything is committed. */
  private void connectUntilCommitted(
      Chunker chunker, UploadLedger ledger, Mailbox mailbox, Context running)
      throws InterruptedException {
    Outage outage = new Outage(maxOutage);
    while (true) {
      Duration delay;
      try (UploadStream stream =
          new UploadStream(client, uploadId, chunker, ledger, outage, mailbox)) {
        stream.run();
        return;
      } catch (EngagementException error) {
        if (!error.isTransient()) {
          throw error;
        }
        delay = outage.delayAfter(error);
      }
      mailbox.runFor(delay, running::isCancelled);
      client.connection().requireUse();
      ledger.noteReconnect();
    }
  }

  /** The source's own error as it is, checked or not: iterators written elsewhere throw both. */
  @SuppressWarnings("unchecked") // erased to Throwable, which is what is thrown
  private static <E extends Throwable> void rethrow(Throwable error) throws E {
    throw (E) error;
  }
}
