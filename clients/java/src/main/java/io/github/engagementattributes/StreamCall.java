package io.github.engagementattributes;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * One stream, used by one thread, which runs the callbacks of its mailbox.
 *
 * <p>Messages arrive only when they are requested, one by one: others stay with the server, as far
 * as the connection's flow control reaches.
 */
final class StreamCall<RequestT, ResponseT> implements AutoCloseable {
  private final Connection connection;
  private final Mailbox mailbox;
  private final ClientCall<RequestT, ResponseT> call;
  private boolean isAsked;
  private @Nullable ResponseT message;
  private @Nullable Status status;
  private @Nullable Metadata trailers;

  StreamCall(Connection connection, MethodDescriptor<RequestT, ResponseT> method, Mailbox mailbox) {
    this.connection = connection;
    this.mailbox = mailbox;
    this.call = connection.channel().newCall(method, CallOptions.DEFAULT.withExecutor(mailbox));
    call.start(new Listener(), new Metadata());
  }

  /** Whether a message sent now goes out instead of waiting in memory. */
  boolean isReady() {
    return call.isReady();
  }

  void send(RequestT request) {
    call.sendMessage(request);
  }

  void halfClose() {
    call.halfClose();
  }

  /** Requests one more message, unless one is already requested. */
  void ask() {
    if (!isAsked) {
      isAsked = true;
      call.request(1);
    }
  }

  /** The message that arrived since the last {@link #ask}, once; null if there is none yet. */
  @Nullable ResponseT take() {
    ResponseT taken = message;
    if (taken != null) {
      message = null;
      isAsked = false;
    }
    return taken;
  }

  /** Whether the call has ended with OK. Throws if it ended otherwise. */
  boolean hasEnded() {
    if (status != null && !status.isOk()) {
      throw connection.failure(status, trailers);
    }
    return status != null;
  }

  /** The next message; null at the end. Throws if the server is silent for too long. */
  @Nullable ResponseT read(Duration silence) throws InterruptedException {
    long silentAt = System.nanoTime() + silence.toNanos();
    ask();
    while (true) {
      ResponseT taken = take();
      if (taken != null || hasEnded()) {
        return taken;
      }
      if (!mailbox.runNext(silentAt - System.nanoTime())) {
        throw silent(silence);
      }
    }
  }

  static EngagementException silent(Duration silence) {
    double seconds = silence.toMillis() / 1000.0;
    return EngagementException.unavailable(
        "no message from the server for " + seconds + " s", null);
  }

  /** Lets the server end the call by itself; otherwise it would see a cancellation. */
  void awaitEnd(Duration longest) throws InterruptedException {
    ask();
    mailbox.runFor(longest, () -> status != null);
  }

  /** Ends the call; the server stops sending. */
  @Override
  public void close() {
    if (status == null) {
      call.cancel("the client no longer needs the call", null);
    }
  }

  private final class Listener extends ClientCall.Listener<ResponseT> {
    @Override
    public void onMessage(ResponseT received) {
      message = received;
    }

    @Override
    public void onClose(Status closedWith, Metadata closedTrailers) {
      status = closedWith;
      trailers = closedTrailers;
    }
  }
}
