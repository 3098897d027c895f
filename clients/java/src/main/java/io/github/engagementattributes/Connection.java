package io.github.engagementattributes;

import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.Deadline;
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
  private static final Duration SHORTEST_QUOTA_DELAY = Duration.ofMillis(100);

  private final ManagedChannel transport;
  private final Channel channel;
  private final Duration timeout;
  private final Tokens tokens;
  private final @Nullable ClientCertificate certificate;

  /** {@code timeout} is the deadline of unary calls. */
  Connection(
      String target,
      ChannelCredentials credentials,
      @Nullable ClientCertificate certificate,
      CallDefaults defaults,
      Tokens tokens,
      Duration timeout) {
    this.timeout = timeout;
    this.tokens = tokens;
    this.certificate = certificate;
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
    channel = ClientInterceptors.intercept(transport, defaults);
    Reconnector.watch(transport);
  }

  Channel channel() {
    return channel;
  }

  Duration timeout() {
    return timeout;
  }

  /** Whether there may be another token after one has expired. */
  boolean renewsToken() {
    return tokens.isRenewable();
  }

  /**
   * Makes a call of a blocking stub, and converts its failure. Within the deadline, the call is
   * repeated after TOKEN_EXPIRED, once, and as quotas ask.
   */
  <T> T call(Supplier<T> call) {
    Deadline ofContext = Context.current().getDeadline();
    Deadline deadline =
        ofContext == null ? Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS) : ofContext;
    Context attempts = Context.current().withValue(CallDefaults.DEADLINE, deadline);
    boolean hasRenewedToken = false;
    while (true) {
      Context outer = attempts.attach();
      try {
        return call.get();
      } catch (StatusRuntimeException error) {
        RuntimeException failure = failure(error.getStatus(), error.getTrailers());
        boolean isExpired = failure instanceof EngagementException typed && typed.isExpiredToken();
        if (isExpired && renewsToken() && !hasRenewedToken) {
          hasRenewedToken = true;
        } else {
          awaitQuota(failure, deadline);
        }
      } finally {
        attempts.detach(outer);
      }
    }
  }

  /** Waits as long as a quota asks. Throws the failure if that is too late or cannot help. */
  private void awaitQuota(RuntimeException failure, Deadline deadline) {
    if (!(failure instanceof EngagementException error)
        || error.kind() != ErrorKind.QUOTA_EXCEEDED
        || error.retryDelay().isEmpty()) {
      throw failure;
    }
    long asked = error.retryDelay().get().toNanos();
    long wait = Math.max(asked, SHORTEST_QUOTA_DELAY.toNanos());
    if (deadline.timeRemaining(TimeUnit.NANOSECONDS) < wait) {
      throw failure;
    }
    try {
      TimeUnit.NANOSECONDS.sleep(wait);
    } catch (InterruptedException interruption) {
      Thread.currentThread().interrupt();
    }
    requireUse();
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
    if (certificate != null) {
      certificate.close();
    }
    transport.shutdownNow();
    try {
      transport.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException interruption) {
      Thread.currentThread().interrupt();
    }
  }
}
