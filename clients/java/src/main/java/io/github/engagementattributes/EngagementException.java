package io.github.engagementattributes;

import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A call that failed: why, for programs and for people.
 *
 * <p>Branch on {@link #kind()}, and where that is not enough on {@link #reason()}. What the caller
 * cancels is no EngagementException but a {@link java.util.concurrent.CancellationException}.
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
   * The typed error for the end of a call, for those who make calls on {@link
   * EngagementClient#channel()} by themselves.
   *
   * @param status the status that the call ended with
   * @param trailers the trailing metadata that came with it, or null
   * @return the error with all that the server's status details say
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

  /** The connection is of no use any more. */
  static EngagementException unavailable(String message, @Nullable Duration retryDelay) {
    StatusDetails details = new StatusDetails("", Map.of(), List.of(), retryDelay);
    return new EngagementException(ErrorKind.UNAVAILABLE, null, message, details, null);
  }

  static EngagementException sourceMismatch(String message) {
    return new EngagementException(
        ErrorKind.SOURCE_MISMATCH, null, message, StatusDetails.NONE, null);
  }

  /**
   * What the error means for the caller.
   *
   * @return the kind, which follows from the code
   */
  public ErrorKind kind() {
    return kind;
  }

  /**
   * The code of the status.
   *
   * @return empty where the client itself found the error
   */
  public Optional<Status.Code> code() {
    return Optional.ofNullable(code);
  }

  /**
   * The server's reason: the name of a {@link io.github.engagementattributes.v1.ErrorReason}
   * without its prefix, or one that this version does not know.
   *
   * @return empty where the status came from elsewhere, a proxy or a broken connection
   */
  public String reason() {
    return reason;
  }

  /**
   * The text of the status alone, for people.
   *
   * @return never empty; {@link #getMessage} has it and all the rest
   */
  public String message() {
    return message;
  }

  /**
   * What belongs to the reason, such as {@code limit} or {@code earliestCursor}.
   *
   * @return texts by key; unmodifiable
   */
  public Map<String, String> metadata() {
    return metadata;
  }

  /**
   * The fields that are wrong.
   *
   * @return in the order of the request; the server names at most 32; unmodifiable
   */
  public List<FieldViolation> violations() {
    return violations;
  }

  /**
   * How long the server asks to wait before the next try.
   *
   * @return empty where it does not
   */
  public Optional<Duration> retryDelay() {
    return Optional.ofNullable(retryDelay);
  }

  /**
   * Whether the same request may succeed later. Uploaders and followers go on after such errors by
   * themselves.
   *
   * @return true after {@code UNAVAILABLE}, {@code DEADLINE}, {@code QUOTA_EXCEEDED} with a delay,
   *     and what comes from a broken connection
   */
  public boolean isTransient() {
    return switch (kind) {
      case UNAVAILABLE, DEADLINE -> true;
      case QUOTA_EXCEEDED -> retryDelay != null;
      default ->
          // Without a reason of the service these come from a broken connection or from a proxy.
          reason.isEmpty()
              && (code == Status.Code.INTERNAL
                  || code == Status.Code.UNKNOWN
                  || code == Status.Code.CANCELLED);
    };
  }

  /**
   * Everything that there is to say to people: code, reason, message, and a line for each field.
   *
   * @return one line or more, without a line end
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
