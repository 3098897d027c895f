package io.github.engagementattributes;

import io.github.engagementattributes.v1.Event;
import io.grpc.Context;
import java.time.Duration;
import java.util.Iterator;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Uploads a source of events of any length, in bounded memory, across lost connections, server
 * restarts and client crashes.
 *
 * <p>To resume an upload, even from another process, use a new Uploader with the same upload id and
 * the same source from its start. The committed events are compared by their digest and not sent
 * again; another source is refused before anything is sent. A finished upload compares the whole
 * source and returns its summary again. One upload id names one source: derive it from what
 * identifies the source, such as its name and day.
 *
 * <p>Memory holds the unacked chunks, at most as many as the server allows, and the next one.
 * {@link EngagementClient#uploader} builds Uploaders; each is for one run.
 */
public final class Uploader {
  // Closing the client does not wake a run without a connection.
  private static final long CHECK_NANOS = TimeUnit.MILLISECONDS.toNanos(200);

  private final EngagementClient client;
  private final String uploadId;
  private final int chunkEvents;
  private final boolean keepGoing;
  private final Duration maxOutage;
  private final @Nullable Consumer<UploadProgress> onProgress;
  private final @Nullable Consumer<RejectedEvent> onRejection;
  private Context.@Nullable CancellableContext context;
  private boolean isCancelled;

  Uploader(UploaderBuilder builder) {
    client = builder.client;
    uploadId = builder.uploadId == null ? Uuid7.next() : builder.uploadId;
    chunkEvents = builder.chunkEvents;
    keepGoing = builder.keepGoing;
    maxOutage = builder.maxOutage;
    onProgress = builder.onProgress;
    onRejection = builder.onRejection;
  }

  /**
   * The id of the upload.
   *
   * @return the id that the builder was given, or a new UUIDv7
   */
  public String uploadId() {
    return uploadId;
  }

  /**
   * Uploads all events of the source and finishes the upload.
   *
   * <p>Events without an id get one from the server, the same whenever the source is uploaded under
   * this upload id. An event that cannot be sent, because it is larger than 3.5 MiB or its text is
   * not Unicode, is rejected here: {@code onRejection} gets it, and the summary's tally counts it.
   *
   * <p>The source is read in a thread of its own, no faster than the server commits, and may block
   * for any time: earlier events are sent meanwhile. If the upload ends before its source, that
   * thread is interrupted and awaited for up to two seconds.
   *
   * <p>If the source throws, all events before it are committed, then the exception is rethrown;
   * the upload stays open, as after a cancellation, an interruption or an error.
   *
   * @param events the source, in the same order in every run
   * @return the totals
   * @throws EngagementException {@code TAKEN_OVER} if a newer stream has taken over the upload,
   *     {@code SOURCE_MISMATCH} if the upload began with another source, {@code PRECONDITION} with
   *     the reason {@code UPLOAD_ALL_REJECTED} if the server rejected the first events, all of
   *     them, the last connection's error if an outage lasts too long, and any other that is not
   *     transient, at once
   * @throws CancellationException after {@link #cancel}, or if the current {@link Context} is
   *     cancelled or the client closed
   * @throws InterruptedException if the thread is interrupted
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
   * @throws InterruptedException if the thread is interrupted
   */
  public UploadSummary upload(Iterable<Event> events) throws InterruptedException {
    return upload(events.iterator());
  }

  /**
   * The same as {@link #upload(Iterator)}.
   *
   * @param events the source, in the same order in every run; the caller closes it
   * @return the totals
   * @throws InterruptedException if the thread is interrupted
   */
  public UploadSummary upload(Stream<Event> events) throws InterruptedException {
    return upload(events.iterator());
  }

  /**
   * Ends this run, from any thread: {@link #upload(Iterator)} throws a CancellationException.
   * Committed events stay, and another Uploader can resume.
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
      awaitComparison(chunker, ledger, mailbox);
      sourceError = chunker.error();
    }
    if (sourceError != null) {
      Uploader.<RuntimeException>rethrow(sourceError);
    }
    return ledger.summarize(uploadId);
  }

  /** Opens connection after connection until everything is committed. */
  private void connectUntilCommitted(
      Chunker chunker, UploadLedger ledger, Mailbox mailbox, Context running)
      throws InterruptedException {
    Outage outage = new Outage(maxOutage, client.connection().renewsToken());
    while (true) {
      Duration delay;
      try (UploadStream stream =
          new UploadStream(client, uploadId, keepGoing, chunker, ledger, outage, mailbox)) {
        stream.run();
        return;
      } catch (EngagementException error) {
        delay = outage.delayAfter(error);
      }
      mailbox.runFor(delay, running::isCancelled);
      client.connection().requireUse();
      ledger.noteReconnect();
    }
  }

  /** Returns once the whole source of a finished upload is compared. */
  private void awaitComparison(Chunker chunker, UploadLedger ledger, Mailbox mailbox)
      throws InterruptedException {
    while (chunker.isComparing() && !chunker.hasEnded()) {
      client.connection().requireUse();
      RejectedEvent rejected = chunker.pollRejected();
      if (rejected != null) {
        ledger.reject(rejected);
      } else {
        mailbox.runNext(CHECK_NANOS);
      }
    }
  }

  /** Rethrows the source's own error unchanged: not all iterators throw only unchecked ones. */
  @SuppressWarnings("unchecked") // erased to Throwable, which is what is thrown
  private static <E extends Throwable> void rethrow(Throwable error) throws E {
    throw (E) error;
  }
}
