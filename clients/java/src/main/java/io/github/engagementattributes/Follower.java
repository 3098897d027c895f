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
 * Yields the events that match a filter, in the order of acceptance, as soon as they are available.
 *
 * <p>Iterate over it for single events, or over {@link #batches} for many. All iterators share one
 * position: each continues where the last one stopped. There are no gaps and no repeats, whatever
 * happens to the connection or the server. Whatever ends a wait for the next event, an interruption
 * or an error, loses nothing: the next wait continues after {@link #cursor}.
 *
 * <p>{@code hasNext} waits for the next event. It throws an {@link EngagementException}: {@code
 * PRECONDITION} if the cursor precedes the retained events or belongs to another log, {@code
 * INVALID_ARGUMENT} if the cursor or the filter is invalid, the last connection's error if an
 * outage lasts too long, and any other that is not transient, at once. It throws a {@link
 * CancellationException} if the {@link Context} that was current at {@link FollowerBuilder#build}
 * is cancelled, the client is closed, or the thread is interrupted (its interrupt status stays
 * set).
 *
 * <p>Memory holds one batch. Nothing is read before it is asked for; a slow reader affects no
 * others. Only one thread at a time may iterate; closing it and reading its state are thread-safe.
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
    outage = new Outage(builder.maxOutage, client.connection().renewsToken());
    cursor = request.getAfterCursor();
    context.addListener(ended -> cancelled.countDown(), Runnable::run);
  }

  /**
   * Covers exactly the events yielded so far, and the events around them that do not match the
   * filter.
   *
   * <p>Store it after handling an event and start again with {@link EngagementClient#followAfter}:
   * nothing is missed, and only events handled since it was last stored come again. It also moves
   * while no event matches the filter.
   *
   * @return opaque text; empty until the server has accepted the subscription
   */
  public String cursor() {
    return cursor;
  }

  /**
   * Whether all stored events have been yielded.
   *
   * @return false while disconnected
   */
  public boolean isCaughtUp() {
    return isCaughtUp && heldEvents == 0;
  }

  /**
   * The number of stored events after the cursor, as last reported by the server, less those
   * yielded since.
   *
   * @return the lag; it counts events that do not match the filter
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
   * The events in the batches in which they arrive, each with the cursor that covers it. Much
   * faster than single events.
   *
   * @return batches from the current position; iterating throws what it does for single events
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

  /** Holds the next batch; false at the end. */
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
        // What was read but not processed comes again.
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

  /** The next message, reconnecting as often as necessary; null at the end. */
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

  /** Processes a message without events. */
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
        // The stream handles Closing; of messages newer than this client, only the cursor counts.
      }
    }
    cursor = message.getCursor();
    if (!message.hasStarted() && !message.hasClosing()) {
      outage.end();
    }
  }

  private void awaitReconnect(EngagementException error) throws InterruptedException {
    disconnect();
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
