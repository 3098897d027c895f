package io.github.engagementattributes;

import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventError;
import io.github.engagementattributes.v1.SourceDigest;
import io.github.engagementattributes.v1.UploadEventsResponse;
import io.grpc.Context;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Reads a source of events in a thread of its own and keeps the events of one chunk ready.
 *
 * <p>A chunk is complete when it is full; a larger event is alone in its chunk. If the source
 * pauses, a chunk is taken as it is, so that an endless source never lags far behind. An event that
 * cannot be sent is rejected here. Events that are already committed are compared and skipped.
 * Knows nothing of connections.
 */
final class Chunker implements AutoCloseable {
  private static final long FLUSH_NANOS = TimeUnit.MILLISECONDS.toNanos(200);
  // Covers an event's tag and length, and its share of the message.
  private static final long FRAMING_BYTES = 64;
  // The contract's limit, which GetServerInfo names max_event_bytes.
  private static final int MAX_EVENT_BYTES = 3_584 * 1024;
  private static final long CLOSE_MILLIS = 2_000;
  // An event that cannot be serialized.
  private static final byte[] NO_FORM = {};

  private final Iterator<Event> source;
  private final int chunkEvents;
  private final Runnable onChange;

  // Used only by the thread that reads the source.
  private long position;
  private long skipEvents;

  // Set before that thread starts.
  private int maxEvents;
  private long maxBytes;
  private @Nullable Thread reader;

  // Shared by that thread and the one that polls. The digest is that of all events up to the last
  // in the list, so that both change together.
  private @Nullable SourceDigester digester;
  private List<Event> events = new ArrayList<>();
  private long eventsBytes;
  private long firstPosition;
  private long lastSequence;
  private long flushAtNanos;
  private boolean isComplete;
  private boolean hasSourceEnded;
  private @Nullable RejectedEvent rejected;
  private @Nullable Throwable error;

  private volatile boolean isClosed;

  /**
   * {@code chunkEvents} is the caller's limit for a chunk, or 0; {@code onChange} is called, in any
   * thread, whenever there may be something new to poll.
   */
  Chunker(Iterator<Event> source, int chunkEvents, Runnable onChange) {
    this.source = source;
    this.chunkEvents = chunkEvents;
    this.onChange = onChange;
  }

  boolean hasBegun() {
    return reader != null;
  }

  /** Whether the source is only compared with that of a finished upload. */
  synchronized boolean isComparing() {
    return digester != null && digester.isFinished();
  }

  /**
   * Starts reading. The digester tells which events are already committed; if it does not know,
   * {@code committedEvents} are skipped.
   */
  synchronized void begin(
      UploadEventsResponse.Opened opened, SourceDigester sourceDigester, long committedEvents) {
    int limit = opened.getMaxChunkEvents();
    maxEvents = chunkEvents > 0 ? Math.min(chunkEvents, limit) : limit;
    maxBytes = opened.getMaxChunkBytes();
    lastSequence = opened.getCommittedThrough();
    digester = sourceDigester;
    skipEvents = committedEvents;
    reader = new Thread(Context.current().wrap(this::read), "engagement-upload-source");
    reader.setDaemon(true);
    reader.start();
  }

  /** The next chunk; null if none is due. */
  synchronized @Nullable Chunk poll() {
    if (nanosUntilDue() > 0) {
      return null;
    }
    lastSequence++;
    Chunk chunk = new Chunk(lastSequence, firstPosition, events, digest());
    events = new ArrayList<>(events.size());
    eventsBytes = 0;
    isComplete = false;
    notifyAll();
    return chunk;
  }

  /** The digest of the source up to the last event that was polled, or is ready to be. */
  synchronized SourceDigest digest() {
    return digester().digest();
  }

  /** An event that cannot be sent; null if there is none. Those before it were polled. */
  synchronized @Nullable RejectedEvent pollRejected() {
    RejectedEvent polled = rejected;
    rejected = null;
    notifyAll();
    return polled;
  }

  /** How long until a chunk is due even if the source yields nothing more. */
  synchronized long nanosUntilDue() {
    if (events.isEmpty()) {
      return Long.MAX_VALUE;
    }
    return isComplete || hasSourceEnded ? 0 : Math.max(0, flushAtNanos - System.nanoTime());
  }

  /** Whether the source has ended, for whatever reason, and all of it was polled. */
  synchronized boolean hasEnded() {
    return hasSourceEnded && events.isEmpty() && rejected == null;
  }

  /** Sequence of the last chunk that was polled or skipped. */
  synchronized long lastSequence() {
    return lastSequence;
  }

  /** What the source threw, or null; the events before still come as chunks. */
  synchronized @Nullable Throwable error() {
    return error;
  }

  /** Interrupts the source and waits for its thread, unless it ignores the interruption. */
  @Override
  public void close() {
    isClosed = true;
    if (reader == null) {
      return;
    }
    reader.interrupt();
    boolean isInterrupted = Thread.interrupted();
    try {
      reader.join(CLOSE_MILLIS);
    } catch (InterruptedException again) {
      isInterrupted = true;
    }
    if (isInterrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void read() {
    try {
      while (source.hasNext()) {
        add(source.next());
      }
      requireAllCommitted();
      end(null);
    } catch (Throwable thrown) {
      end(thrown);
    }
  }

  private synchronized void end(@Nullable Throwable thrown) {
    error = thrown;
    hasSourceEnded = true;
    onChange.run();
  }

  private void add(Event event) throws InterruptedException {
    if (isClosed) {
      throw new InterruptedException("the upload has ended");
    }
    long eventPosition = position++;
    byte[] form = CanonicalForm.of(event);
    String malformed = UnicodeText.malformedField(event, form);
    if (malformed != null) {
      reject(event, eventPosition, NO_FORM, EventErrors.notUnicode(malformed));
    } else if (form.length > MAX_EVENT_BYTES) {
      EventError tooLarge = EventErrors.tooLarge(form.length, MAX_EVENT_BYTES);
      reject(event, eventPosition, form, tooLarge);
    } else {
      append(event, eventPosition, form);
    }
  }

  private synchronized void append(Event event, long eventPosition, byte[] form)
      throws InterruptedException {
    long bytes = form.length + FRAMING_BYTES;
    if (eventsBytes + bytes > maxBytes) {
      completeAndAwaitPoll();
    }
    boolean isCommitted = digester().isNextCommitted();
    digester().add(form);
    if (isCommitted) {
      return;
    }
    if (skipEvents > 0) {
      skipEvents--;
      return;
    }
    if (events.isEmpty()) {
      firstPosition = eventPosition;
      flushAtNanos = System.nanoTime() + FLUSH_NANOS;
      onChange.run();
    }
    events.add(event);
    eventsBytes += bytes;
    if (events.size() >= maxEvents) {
      completeAndAwaitPoll();
    }
  }

  private synchronized void reject(Event event, long eventPosition, byte[] form, EventError reason)
      throws InterruptedException {
    completeAndAwaitPoll();
    digester().add(form);
    rejected = new RejectedEvent(eventPosition, event, reason);
    onChange.run();
    while (rejected != null) {
      wait();
    }
  }

  private synchronized void completeAndAwaitPoll() throws InterruptedException {
    isComplete = !events.isEmpty();
    onChange.run();
    while (!events.isEmpty()) {
      wait();
    }
  }

  private synchronized void requireAllCommitted() {
    digester().end();
    if (skipEvents > 0) {
      throw EngagementException.sourceMismatch(
          "the source ends "
              + skipEvents
              + " events before the point that the upload has reached: it is not the source that"
              + " the upload began with; use another upload id for another source");
    }
  }

  private SourceDigester digester() {
    return Objects.requireNonNull(digester);
  }
}
