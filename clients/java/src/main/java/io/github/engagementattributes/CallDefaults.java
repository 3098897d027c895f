package io.github.engagementattributes;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** Adds the token to every call, and a deadline to every unary call that has none. */
final class CallDefaults implements ClientInterceptor {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final @Nullable String token;
  private final Duration timeout;

  CallDefaults(@Nullable String token, Duration timeout) {
    this.token = token;
    this.timeout = timeout;
  }

  @Override
  public <RequestT, ResponseT> ClientCall<RequestT, ResponseT> interceptCall(
      MethodDescriptor<RequestT, ResponseT> method, CallOptions options, Channel next) {
    ClientCall<RequestT, ResponseT> call = next.newCall(method, withDeadline(method, options));
    return token == null ? call : new WithToken<>(call);
  }

  private CallOptions withDeadline(MethodDescriptor<?, ?> method, CallOptions options) {
    // A deadline of the context, which may be later than ours, is the caller's too.
    boolean isOurs =
        method.getType() == MethodDescriptor.MethodType.UNARY
            && options.getDeadline() == null
            && Context.current().getDeadline() == null;
    return isOurs ? options.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS) : options;
  }

  private final class WithToken<RequestT, ResponseT>
      extends SimpleForwardingClientCall<RequestT, ResponseT> {
    WithToken(ClientCall<RequestT, ResponseT> call) {
      super(call);
    }

    @Override
    public void start(Listener<ResponseT> listener, Metadata headers) {
      headers.put(AUTHORIZATION, "Bearer " + token);
      super.start(listener, headers);
    }
  }
}
