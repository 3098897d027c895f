package io.github.engagementattributes;

import io.github.engagementattributes.v1.EventFilter;
import io.github.engagementattributes.v1.SubscribeEventsRequest;
import io.github.engagementattributes.v1.SubscribeEventsResponse.ErasureNotice;
import java.time.Duration;
import java.util.function.Consumer;

/** Describes a follower, whose start was chosen by the method that gave the builder. */
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
   * Takes only some events; by default all.
   *
   * @param value all that it says must hold
   * @return this
   */
  public FollowerBuilder filter(EventFilter value) {
    request.setFilter(value);
    return this;
  }

  /**
   * Ends the iteration behind what was stored when the follower connected.
   *
   * @return this
   */
  public FollowerBuilder stopAtTail() {
    request.setStopAtTail(true);
    return this;
  }

  /**
   * Bounds the batches.
   *
   * @param value events of a batch, 1 to 1,000; the server's choice by default
   * @return this
   */
  public FollowerBuilder maxBatchEvents(int value) {
    request.setMaxBatchEvents(value);
    return this;
  }

  /**
   * Asks for the longest silence of the server; two of them mean that the connection is lost.
   *
   * @param value 5 to 60 seconds; the server's choice by default
   * @return this
   */
  public FollowerBuilder heartbeat(Duration value) {
    request.setHeartbeatInterval(Durations.toProto(value));
    return this;
  }

  /**
   * How long to go on reconnecting without any news; five minutes by default.
   *
   * @param value from the first failure to the last try
   * @return this
   */
  public FollowerBuilder maxOutage(Duration value) {
    maxOutage = value;
    return this;
  }

  /**
   * Told of erasures, in the thread that iterates, between the events before and after. What it
   * throws comes out of the iteration, and the notice comes again.
   *
   * @param value takes each notice
   * @return this
   */
  public FollowerBuilder onErasure(Consumer<ErasureNotice> value) {
    onErasure = value;
    return this;
  }

  /**
   * Told of each lost connection, in the thread that iterates.
   *
   * @param value takes the error that ended it
   * @return this
   */
  public FollowerBuilder onReconnect(Consumer<EngagementException> value) {
    onReconnect = value;
    return this;
  }

  /**
   * Makes the Follower; it connects when it is first asked for an event.
   *
   * @return to be closed by the caller
   */
  public Follower build() {
    return new Follower(this);
  }
}
