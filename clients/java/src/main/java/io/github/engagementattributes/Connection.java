package io.github.engagementattributes;

import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** The channel to one server, and the meaning of a failed call on it. */
final class Connection implements AutoCloseable {
  private static final int MAX_RECEIVED_MESSAGE_BYTES = 16 * 1024 * 1024;
  // A larger call is not retried; gRPC's default is far below the largest message.
  private static final long RETRY_BUFFER_BYTES_PER_CALL = 16L * 1024 * 1024;
  private static final long RETRY_BUFFER_BYTES = 4 * RETRY_BUFFER_BYTES_PER_CALL;
  private static final long CLOSE_SECONDS = 5;

  private final ManagedChannel transport;
  private final Channel channel;
  private final Duration timeout;

  /** {@code timeout} is the deadline of unary calls. */
  Connection(
      String target, ChannelCredentials credentials, @Nullable String token, Duration timeout) {
    this.timeout = timeout;
    transport =
        Grpc.newChannelBuilder(target, credentials)
            .defaultServiceConfig(ServiceConfig.RETRIES)
            .disableServiceConfigLookUp()
            .perRpcBufferLimit(RETRY_BUFFER_BYTES_PER_CALL)
            .retryBufferSize(RETRY_BUFFER_BYTES)
            .maxInboundMessageSize(MAX_RECEIVED_MESSAGE_BYTES)
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .build();
    channel = ClientInterceptors.intercept(transport, new CallDefaults(token, timeout));
    Reconnector.watch(transport);
  }

  Channel channel() {
    return channel;
  }

  Duration timeout() {
    return timeout;
  }

  /** Makes a call of a blocking stub, and converts its failure. */
  <T> T call(Supplier<T> call) {
    try {
      return call.get();
    } catch (StatusRuntimeException error) {
      throw failure(error.getStatus(), error.getTrailers());
    }
  }

  /** A CancellationException if the caller ended the call, otherwise an EngagementException. */
  RuntimeException failure(Status status, @Nullable Metadata trailers) {
    EngagementException error = EngagementException.of(status, trailers);
    boolean isCancelled = status.getCode() == Status.Code.CANCELLED && isUnwanted();
    boolean isClosed = error.isTransient() && transport.isShutdown();
    if (!isCancelled && !isClosed) {
      return error;
    }
    CancellationException cancellation = new CancellationException(error.getMessage());
    cancellation.initCause(error);
    return cancellation;
  }

  /** Throws if the caller has cancelled, or closed the client, so that retrying is pointless. */
  void requireUse() {
    if (isUnwanted() || transport.isShutdown()) {
      throw new CancellationException("the caller has cancelled or closed the client");
    }
  }

  private static boolean isUnwanted() {
    return Thread.currentThread().isInterrupted() || Context.current().isCancelled();
  }

  /** Ends all calls, and waits until the transport has released its sockets. */
  @Override
  public void close() {
    transport.shutdownNow();
    try {
      transport.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException interruption) {
      Thread.currentThread().interrupt();
    }
  }
}
