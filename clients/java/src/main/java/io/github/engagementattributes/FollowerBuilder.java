package io.github.engagementattributes;

import io.github.engagementattributes.v1.EventFilter;
import io.github.engagementattributes.v1.SubscribeEventsRequest;
import io.github.engagementattributes.v1.SubscribeEventsResponse.ErasureNotice;
import java.time.Duration;
import java.util.function.Consumer;

/** Builds a {@link Follower}; the method that returned the builder has set where it starts. */
public final class FollowerBuilder {
  final EngagementClient client;
  final SubscribeEventsRequest.Builder request;
  Duration maxOutage = Outage.DEFAULT_MAX;
  Consumer<ErasureNotice> onErasure = notice -> {};
  Consumer<EngagementException> onReconnect = error -> {};

  FollowerBuilder(EngagementClient client, SubscribeEventsRequest.Builder request) {
    this.client = client;
    this.request = request.setAccountId(client.accountId());
  }

  /**
   * Selects events; by default all.
   *
   * @param value all of its conditions must hold
   * @return this
   */
  public FollowerBuilder filter(EventFilter value) {
    request.setFilter(value);
    return this;
  }

  /**
   * Ends the iteration after the events that were stored when the follower connected.
   *
   * @return this
   */
  public FollowerBuilder stopAtTail() {
    request.setStopAtTail(true);
    return this;
  }

  /**
   * Limits the size of batches.
   *
   * @param value maximum number of events in a batch, 1 to 1,000; the server's choice by default
   * @return this
   */
  public FollowerBuilder maxBatchEvents(int value) {
    request.setMaxBatchEvents(value);
    return this;
  }

  /**
   * Sets the longest silence of the server; after twice that, the connection is lost.
   *
   * @param value 5 to 60 seconds; the server's choice by default
   * @return this
   */
  public FollowerBuilder heartbeat(Duration value) {
    request.setHeartbeatInterval(Durations.toProto(value));
    return this;
  }

  /**
   * Sets how long to keep reconnecting without progress; five minutes by default.
   *
   * @param value from the first failure to the last attempt
   * @return this
   */
  public FollowerBuilder maxOutage(Duration value) {
    maxOutage = value;
    return this;
  }

  /**
   * Registers a callback for erasures, called in the iterating thread, between the events before
   * and after. If it throws, so does the iteration, and the notice comes again.
   *
   * @param value receives each notice
   * @return this
   */
  public FollowerBuilder onErasure(Consumer<ErasureNotice> value) {
    onErasure = value;
    return this;
  }

  /**
   * Registers a callback for lost connections, called in the iterating thread.
   *
   * @param value receives the error that ended the connection
   * @return this
   */
  public FollowerBuilder onReconnect(Consumer<EngagementException> value) {
    onReconnect = value;
    return this;
  }

  /**
   * Builds the Follower, which connects when it is first asked for an event.
   *
   * @return a follower that the caller must close
   */
  public Follower build() {
    return new Follower(this);
  }
}
