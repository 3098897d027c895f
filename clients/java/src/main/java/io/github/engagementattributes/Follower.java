package io.github.engagementattributes;

import io.github.engagementattributes.v1.StoredEvent;
import io.github.engagementattributes.v1.SubscribeEventsRequest;
import io.github.engagementattributes.v1.SubscribeEventsResponse;
import io.github.engagementattributes.v1.SubscribeEventsResponse.ErasureNotice;
import io.grpc.Context;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Hands out the events that a filter takes, in the order of acceptance, each as soon as it is
 * there.
 *
 * <p>Iterate over it for single events, or over {@link #batches} where there are many; both go on
 * where the other stopped, and every iterator is the same walk. What it hands out has no gap and no
 * repeat, whatever happens to the connection or to the server. Whatever ends a wait for the next
 * event, an interruption or an error, loses nothing: the next wait goes on behind {@link #cursor}.
 *
 * <p>{@code hasNext} waits for the next event. It throws an {@link EngagementException}: {@code
 * PRECONDITION} where the cursor is older than what is kept or of another log, {@code
 * INVALID_ARGUMENT} where the cursor or the filter is wrong, the error that explains an outage that
 * lasts too long, and any other at once. It throws a {@link CancellationException} where the thread
 * is interrupted (which it stays), the {@link Context} that was current at {@link
 * FollowerBuilder#build} is cancelled, or the client is closed.
 *
 * <p>Memory holds one batch. Nothing is read before somebody asks; a reader that takes its time
 * slows down nobody else. One thread at a time may iterate; any may close it and read its state.
 */
public final class Follower implements Iterable<StoredEvent>, AutoCloseable {
  private final EngagementClient client;
  private final SubscribeEventsRequest request;
  private final Consumer<ErasureNotice> onErasure;
  private final Consumer<EngagementException> onReconnect;
  private final Outage outage;
  private final Context.CancellableContext context = Context.current().withCancellation();
  private final CountDownLatch cancelled = new CountDownLatch(1);
  private final Queue<StoredEvent> held = new ArrayDeque<>();
  private String heldCursor = "";
  private @Nullable FollowStream stream;
  private boolean hasEnded;
  private volatile boolean isClosed;
  private volatile String cursor;
  private volatile int heldEvents;
  private volatile long lagBehindHeld;
  private volatile boolean isCaughtUp;

  Follower(FollowerBuilder builder) {
    client = builder.client;
    request = builder.request.build();
    onErasure = builder.onErasure;
    onReconnect = builder.onReconnect;
    outage = new Outage(builder.maxOutage);
    cursor = request.getAfterCursor();
    context.addListener(ended -> cancelled.countDown(), Runnable::run);
  }

  /**
   * Covers exactly what was handed out, and what the filter does not take before and behind it.
   *
   * <p>Whoever stores it after handling an event, and starts again with {@link
   * EngagementClient#followAfter}, misses nothing and repeats only what came after it was last
   * stored. It moves with a filter that takes nothing, too.
   *
   * @return opaque text; empty until the server has accepted the subscription
   */
  public String cursor() {
    return cursor;
  }

  /**
   * Whether everything that was stored has been handed out.
   *
   * @return false also while there is no connection
   */
  public boolean isCaughtUp() {
    return isCaughtUp && heldEvents == 0;
  }

  /**
   * How many events were stored behind the cursor when the server last said so. What was handed out
   * since is taken off. Those that the filter does not take are counted.
   *
   * @return a number of events of the account
   */
  public long lagEvents() {
    return lagBehindHeld + heldEvents;
  }

  /** Ends the call and the iteration, from any thread; the cursor stays. */
  @Override
  public void close() {
    isClosed = true;
    context.cancel(null);
  }

  @Override
  public Iterator<StoredEvent> iterator() {
    return new Walk<>() {
      @Override
      StoredEvent handOut() {
        StoredEvent event = held.remove();
        moveTo(held.isEmpty() ? heldCursor : event.getCursor());
        return event;
      }
    };
  }

  /**
   * The events in the batches in which they come, each with the cursor that covers it. Much faster
   * than single events.
   *
   * @return for one walk; it throws what the iteration over single events throws
   */
  public Iterable<EventBatch> batches() {
    return () ->
        new Walk<>() {
          @Override
          EventBatch handOut() {
            List<StoredEvent> events = List.copyOf(held);
            held.clear();
            moveTo(heldCursor);
            return new EventBatch(events, heldCursor);
          }
        };
  }

  private abstract class Walk<T> implements Iterator<T> {
    abstract T handOut();

    @Override
    public boolean hasNext() {
      return !isClosed && (!held.isEmpty() || load());
    }

    @Override
    public T next() {
      if (!hasNext()) {
        throw new NoSuchElementException();
      }
      return handOut();
    }
  }

  private void moveTo(String newCursor) {
    cursor = newCursor;
    heldEvents = held.size();
  }

  /** Holds the next batch; false where there will be none. */
  private boolean load() {
    boolean isHeld = false;
    Context previous = context.attach();
    try {
      isHeld = receiveBatch();
      return isHeld;
    } catch (InterruptedException interruption) {
      Thread.currentThread().interrupt();
      CancellationException error = new CancellationException("interrupted");
      error.initCause(interruption);
      throw error;
    } catch (CancellationException error) {
      if (isClosed) {
        return false;
      }
      throw error;
    } finally {
      context.detach(previous);
      if (!isHeld) {
        // What was read and not taken in comes again.
        disconnect();
      }
    }
  }

  private boolean receiveBatch() throws InterruptedException {
    while (!hasEnded) {
      SubscribeEventsResponse message = receive();
      if (message == null) {
        hasEnded = true;
      } else if (message.hasBatch()) {
        held.addAll(message.getBatch().getEventsList());
        heldCursor = message.getCursor();
        heldEvents = held.size();
        lagBehindHeld = Math.max(0, lagBehindHeld - heldEvents);
        outage.end();
        return true;
      } else {
        take(message);
      }
    }
    return false;
  }

  /** The next message, over as many connections as it takes; null at the end. */
  private @Nullable SubscribeEventsResponse receive() throws InterruptedException {
    while (true) {
      try {
        if (stream == null) {
          stream = new FollowStream(client, nextRequest());
        }
        return stream.read();
      } catch (EngagementException error) {
        awaitReconnect(error);
      }
    }
  }

  /** Takes in what is no event. */
  private void take(SubscribeEventsResponse message) {
    switch (message.getMessageCase()) {
      case STARTED -> lagBehindHeld = message.getStarted().getLagEvents();
      case CAUGHT_UP -> {
        isCaughtUp = true;
        lagBehindHeld = 0;
      }
      case FELL_BEHIND -> {
        isCaughtUp = false;
        lagBehindHeld = message.getFellBehind().getLagEvents();
      }
      case PROGRESS -> lagBehindHeld = message.getProgress().getLagEvents();
      case ERASURE_NOTICE -> onErasure.accept(message.getErasureNotice());
      default -> {
        // Closing is the stream's business; of what is newer than this client the cursor counts.
      }
    }
    cursor = message.getCursor();
    if (!message.hasStarted() && !message.hasClosing()) {
      outage.end();
    }
  }

  private void awaitReconnect(EngagementException error) throws InterruptedException {
    disconnect();
    if (!error.isTransient()) {
      throw error;
    }
    Duration delay = outage.delayAfter(error);
    onReconnect.accept(error);
    cancelled.await(delay.toNanos(), TimeUnit.NANOSECONDS);
    client.connection().requireUse();
  }

  private SubscribeEventsRequest nextRequest() {
    return cursor.isEmpty() ? request : request.toBuilder().setAfterCursor(cursor).build();
  }

  private void disconnect() {
    isCaughtUp = false;
    if (stream != null) {
      stream.close();
      stream = null;
    }
  }
}
