package io.github.engagementattributes;

import io.github.engagementattributes.v1.EventServiceGrpc;
import io.github.engagementattributes.v1.SubscribeEventsRequest;
import io.github.engagementattributes.v1.SubscribeEventsResponse;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** One connection of a follower: reads messages, and distinguishes its end from a loss. */
final class FollowStream implements AutoCloseable {
  private final Mailbox mailbox = new Mailbox();
  private final StreamCall<SubscribeEventsRequest, SubscribeEventsResponse> call;
  private final boolean stopsAtTail;
  private Duration silence;
  private @Nullable Duration reconnectDelay;
  private boolean isClosing;

  FollowStream(EngagementClient client, SubscribeEventsRequest request) {
    stopsAtTail = request.getStopAtTail();
    silence = client.connection().timeout();
    call =
        new StreamCall<>(client.connection(), EventServiceGrpc.getSubscribeEventsMethod(), mailbox);
    call.send(request);
    call.halfClose();
  }

  /**
   * The next message or, if the stream was to stop at the tail, null after the last one.
   *
   * <p>Throws an unavailable error if the server closes the stream or is silent for two of its
   * intervals.
   */
  @Nullable SubscribeEventsResponse read() throws InterruptedException {
    SubscribeEventsResponse message = call.read(silence);
    if (message == null) {
      if (stopsAtTail && !isClosing) {
        return null;
      }
      throw EngagementException.unavailable("the server closed the stream", reconnectDelay);
    }
    if (message.hasStarted() && message.getStarted().hasHeartbeatInterval()) {
      silence = Durations.toJava(message.getStarted().getHeartbeatInterval()).multipliedBy(2);
    } else if (message.hasClosing()) {
      isClosing = true;
      reconnectDelay = Durations.toJava(message.getClosing().getReconnectDelay());
    }
    return message;
  }

  @Override
  public void close() {
    call.close();
    mailbox.close();
  }
}
