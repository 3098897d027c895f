package io.github.engagementattributes;

import io.github.engagementattributes.v1.ServerServiceGrpc;
import io.github.engagementattributes.v1.SubscribeEventsResponse;
import io.github.engagementattributes.v1.UploadEventsResponse;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** Adds account and token to every call, and a deadline to every unary call that has none. */
final class CallDefaults implements ClientInterceptor {
  /** The deadline of a call that is made again, for all attempts together. */
  static final Context.Key<Deadline> DEADLINE = Context.key("engagement-deadline");

  private static final Metadata.Key<String> AUTHORIZATION = key("authorization");
  private static final Metadata.Key<String> ACCOUNT = key("engagement-account");

  private final String accountId;
  private final Tokens tokens;
  private final Duration timeout;

  CallDefaults(String accountId, Tokens tokens, Duration timeout) {
    this.accountId = accountId;
    this.tokens = tokens;
    this.timeout = timeout;
  }

  @Override
  public <RequestT, ResponseT> ClientCall<RequestT, ResponseT> interceptCall(
      MethodDescriptor<RequestT, ResponseT> method, CallOptions options, Channel next) {
    boolean namesAccount = !ServerServiceGrpc.SERVICE_NAME.equals(method.getServiceName());
    return new DescribedCall<>(next.newCall(method, withDeadline(method, options)), namesAccount);
  }

  private CallOptions withDeadline(MethodDescriptor<?, ?> method, CallOptions options) {
    // A deadline of the context, which may be later than ours, is the caller's too.
    boolean isOurs =
        method.getType() == MethodDescriptor.MethodType.UNARY
            && options.getDeadline() == null
            && Context.current().getDeadline() == null;
    if (!isOurs) {
      return options;
    }
    Deadline ofAllAttempts = DEADLINE.get();
    return ofAllAttempts == null
        ? options.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS)
        : options.withDeadline(ofAllAttempts);
  }

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private final class DescribedCall<RequestT, ResponseT>
      extends SimpleForwardingClientCall<RequestT, ResponseT> {
    private final boolean namesAccount;

    DescribedCall(ClientCall<RequestT, ResponseT> call, boolean namesAccount) {
      super(call);
      this.namesAccount = namesAccount;
    }

    @Override
    public void start(Listener<ResponseT> listener, Metadata headers) {
      String token = tokens.current();
      if (token != null) {
        headers.put(AUTHORIZATION, "Bearer " + token);
      }
      if (namesAccount) {
        headers.put(ACCOUNT, accountId);
      }
      super.start(tokens.isRenewable() ? new Watch<>(listener, token) : listener, headers);
    }
  }

  /** Drops the token of a call when the server says that it has expired. */
  private final class Watch<ResponseT> extends SimpleForwardingClientCallListener<ResponseT> {
    private final @Nullable String token;

    Watch(ClientCall.Listener<ResponseT> listener, @Nullable String token) {
      super(listener);
      this.token = token;
    }

    @Override
    public void onMessage(ResponseT message) {
      if (saysExpired(message)) {
        tokens.discard(token);
      }
      super.onMessage(message);
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      if (EngagementException.of(status, trailers).isExpiredToken()) {
        tokens.discard(token);
      }
      super.onClose(status, trailers);
    }

    private boolean saysExpired(ResponseT message) {
      if (message instanceof UploadEventsResponse upload) {
        return upload.getClosing().getReason()
            == UploadEventsResponse.Closing.Reason.REASON_UNAUTHENTICATED;
      }
      return message instanceof SubscribeEventsResponse subscription
          && subscription.getClosing().getReason()
              == SubscribeEventsResponse.Closing.Reason.REASON_UNAUTHENTICATED;
    }
  }
}
