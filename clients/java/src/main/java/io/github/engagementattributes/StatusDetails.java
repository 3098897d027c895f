package io.github.engagementattributes;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The details of a status besides its code and message. */
record StatusDetails(
    String reason,
    Map<String, String> metadata,
    List<FieldViolation> violations,
    @Nullable Duration retryDelay) {

  static final StatusDetails NONE = new StatusDetails("", Map.of(), List.of(), null);

  private static final Metadata.Key<byte[]> KEY =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  /** Never fails: if the details cannot be read, the code and the message must do. */
  static StatusDetails read(@Nullable Metadata trailers) {
    byte[] serialized = trailers == null ? null : trailers.get(KEY);
    if (serialized == null) {
      return NONE;
    }
    try {
      return parse(serialized);
    } catch (InvalidProtocolBufferException writtenByAnother) {
      return NONE;
    }
  }

  private static StatusDetails parse(byte[] serialized) throws InvalidProtocolBufferException {
    ErrorInfo info = ErrorInfo.getDefaultInstance();
    BadRequest badRequest = BadRequest.getDefaultInstance();
    RetryInfo retry = RetryInfo.getDefaultInstance();
    for (Any detail : com.google.rpc.Status.parseFrom(serialized).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        info = detail.unpack(ErrorInfo.class);
      } else if (detail.is(BadRequest.class)) {
        badRequest = detail.unpack(BadRequest.class);
      } else if (detail.is(RetryInfo.class)) {
        retry = detail.unpack(RetryInfo.class);
      }
    }
    return new StatusDetails(
        info.getReason(),
        Map.copyOf(info.getMetadataMap()),
        badRequest.getFieldViolationsList().stream()
            .map(
                violation ->
                    new FieldViolation(
                        violation.getField(), violation.getReason(), violation.getDescription()))
            .toList(),
        retry.hasRetryDelay() ? Durations.toJava(retry.getRetryDelay()) : null);
  }
}
