package io.github.engagementattributes;

import io.github.engagementattributes.v1.ErrorReason;
import io.github.engagementattributes.v1.Event;
import io.github.engagementattributes.v1.EventError;
import io.github.engagementattributes.v1.FieldViolation;
import io.grpc.Context;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Reads a source of events in a thread of its own and keeps the events of one chunk ready.
 *
 * <p>A chunk is complete when it is full. If the source pauses, it is taken as it is, so that an
 * endless source never lags far behind. An event too large for any chunk is rejected here. Knows
 * nothing of connections.
 */
final class Chunker implements AutoCloseable {
  private static final long FLUSH_NANOS = TimeUnit.MILLISECONDS.toNanos(200);
  // Covers an event's tag and length, an id if it has none, and its share of the message.
  private static final long FRAMING_BYTES = 64;
  private static final long CLOSE_MILLIS = 2_000;

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

  // Shared by that thread and the one that polls.
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

  /** Starts reading after the events that are already committed. */
  void begin(int maxChunkEvents, long maxChunkBytes, long afterSequence, long committedEvents) {
    maxEvents = chunkEvents > 0 ? Math.min(chunkEvents, maxChunkEvents) : maxChunkEvents;
    maxBytes = maxChunkBytes;
    lastSequence = afterSequence;
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
    Chunk chunk = new Chunk(lastSequence, firstPosition, events);
    events = new ArrayList<>(events.size());
    eventsBytes = 0;
    isComplete = false;
    notifyAll();
    return chunk;
  }

  /** An event too large for any chunk; null if there is none. Those before it were polled. */
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
      requireAllSkipped();
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
    long bytes = event.getSerializedSize() + FRAMING_BYTES;
    if (bytes > maxBytes) {
      reject(new RejectedEvent(eventPosition, event, tooLarge(bytes)));
    } else if (skipEvents > 0) {
      skipEvents--;
    } else {
      append(event, eventPosition, bytes);
    }
  }

  private synchronized void append(Event event, long eventPosition, long bytes)
      throws InterruptedException {
    if (eventsBytes + bytes > maxBytes) {
      completeAndAwaitPoll();
    }
    if (events.isEmpty()) {
      firstPosition = eventPosition;
      flushAtNanos = System.nanoTime() + FLUSH_NANOS;
      onChange.run();
    }
    events.add(EventIds.filledIn(event));
    eventsBytes += bytes;
    if (events.size() >= maxEvents) {
      completeAndAwaitPoll();
    }
  }

  private synchronized void reject(RejectedEvent event) throws InterruptedException {
    completeAndAwaitPoll();
    rejected = event;
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

  private void requireAllSkipped() {
    if (skipEvents > 0) {
      throw EngagementException.sourceMismatch(
          "the source ends "
              + skipEvents
              + " events before the point that the upload has reached: it is not the source that"
              + " the upload began with");
    }
  }

  /** The error of an event too large for any chunk, in the server's terms. */
  private EventError tooLarge(long bytes) {
    long limit = maxBytes - FRAMING_BYTES;
    String description = "must take at most " + limit + " bytes, takes " + (bytes - FRAMING_BYTES);
    return EventError.newBuilder()
        .setReason(ErrorReason.ERROR_REASON_FIELD_INVALID)
        .setMessage("the event " + description)
        .addViolations(
            FieldViolation.newBuilder()
                .setRule("server.event.max_bytes")
                .setDescription(description))
        .setViolationsTotal(1)
        .build();
  }
}
