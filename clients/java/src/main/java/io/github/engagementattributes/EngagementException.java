package io.github.engagementattributes;

import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Why a call failed, for programs and for humans.
 *
 * <p>Branch on {@link #kind()} and, if that is not enough, on {@link #reason()}. Cancelled calls
 * throw a {@link java.util.concurrent.CancellationException} instead.
 */
public final class EngagementException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final ErrorKind kind;
  private final Status.@Nullable Code code;
  private final String message;
  private final String reason;
  private final Map<String, String> metadata;
  private final List<FieldViolation> violations;
  private final @Nullable Duration retryDelay;

  private EngagementException(
      ErrorKind kind,
      Status.@Nullable Code code,
      String message,
      StatusDetails details,
      @Nullable Throwable cause) {
    super(message, cause);
    this.kind = kind;
    this.code = code;
    this.message = message;
    this.reason = details.reason();
    this.metadata = details.metadata();
    this.violations = details.violations();
    this.retryDelay = details.retryDelay();
  }

  /**
   * The typed error of a failed call, for calls made directly on {@link
   * EngagementClient#channel()}.
   *
   * @param status the status of the call
   * @param trailers its trailing metadata, or null
   * @return the error, including the server's status details
   */
  public static EngagementException of(Status status, @Nullable Metadata trailers) {
    String description = status.getDescription();
    return new EngagementException(
        ErrorKind.of(status.getCode()),
        status.getCode(),
        description == null || description.isEmpty() ? "no message" : description,
        StatusDetails.read(trailers),
        status.getCause());
  }

  /** The error of a connection that is no longer usable. */
  static EngagementException unavailable(String message, @Nullable Duration retryDelay) {
    StatusDetails details = new StatusDetails("", Map.of(), List.of(), retryDelay);
    return new EngagementException(ErrorKind.UNAVAILABLE, null, message, details, null);
  }

  static EngagementException sourceMismatch(String message) {
    return new EngagementException(
        ErrorKind.SOURCE_MISMATCH, null, message, StatusDetails.NONE, null);
  }

  /** The error of a request that is not sent because of a field. */
  static EngagementException invalidField(FieldViolation violation) {
    StatusDetails details = new StatusDetails("FIELD_INVALID", Map.of(), List.of(violation), null);
    String message = violation.field() + ": " + violation.description();
    return new EngagementException(ErrorKind.INVALID_ARGUMENT, null, message, details, null);
  }

  /**
   * Classifies the error by how the caller should react.
   *
   * @return the kind, which derives from the code if there is one
   */
  public ErrorKind kind() {
    return kind;
  }

  /**
   * The code of the status.
   *
   * @return empty if the client itself raised the error
   */
  public Optional<Status.Code> code() {
    return Optional.ofNullable(code);
  }

  /**
   * The server's reason: the name of a {@link io.github.engagementattributes.v1.ErrorReason}
   * without its prefix, or one that this version does not know.
   *
   * @return empty if the status came from a proxy or a broken connection
   */
  public String reason() {
    return reason;
  }

  /**
   * The text of the status alone, for humans.
   *
   * @return never empty; {@link #getMessage} includes it
   */
  public String message() {
    return message;
  }

  /**
   * The dynamic parts of the message, such as {@code limit} or {@code earliestCursor}.
   *
   * @return texts by key; unmodifiable
   */
  public Map<String, String> metadata() {
    return metadata;
  }

  /**
   * The invalid fields.
   *
   * @return in the order of the request; the server lists at most 32; unmodifiable
   */
  public List<FieldViolation> violations() {
    return violations;
  }

  /**
   * The wait before the next attempt that the server requests.
   *
   * @return empty if it requests none
   */
  public Optional<Duration> retryDelay() {
    return Optional.ofNullable(retryDelay);
  }

  /**
   * Whether the same request may succeed later. Uploaders and followers retry after such errors by
   * themselves.
   *
   * @return true for {@code UNAVAILABLE}, {@code DEADLINE}, {@code QUOTA_EXCEEDED} with a retry
   *     delay, and errors of a broken connection
   */
  public boolean isTransient() {
    return switch (kind) {
      case UNAVAILABLE, DEADLINE -> true;
      case QUOTA_EXCEEDED -> retryDelay != null;
      default ->
          // Without the service's reason these come from a broken connection or from a proxy.
          reason.isEmpty()
              && (code == Status.Code.INTERNAL
                  || code == Status.Code.UNKNOWN
                  || code == Status.Code.CANCELLED);
    };
  }

  /** Whether the token of the call has expired, so that another one may help. */
  boolean isExpiredToken() {
    return kind == ErrorKind.UNAUTHENTICATED && reason.equals("TOKEN_EXPIRED");
  }

  /**
   * The full text for humans: code, reason, message, and a line for each violation.
   *
   * @return one or more lines, without a trailing line break
   */
  @Override
  public String getMessage() {
    StringBuilder text = new StringBuilder();
    if (code != null) {
      text.append(code).append(reason.isEmpty() ? ": " : " / " + reason + ": ");
    }
    text.append(message);
    violations.forEach(violation -> text.append("\n  ").append(violation));
    int unnamed = totalViolations() - violations.size();
    if (!violations.isEmpty() && unnamed > 0) {
      text.append("\n  and ").append(unnamed).append(" more");
    }
    return text.toString();
  }

  private int totalViolations() {
    try {
      return Integer.parseInt(metadata.getOrDefault("violationsTotal", "0"));
    } catch (NumberFormatException notANumber) {
      return 0;
    }
  }
}
