/** The error that every failed call rejects with. */

/**
 * Classifies an error by how the caller should react.
 *
 * | kind | status | |
 * | --- | --- | --- |
 * | `invalid_argument` | INVALID_ARGUMENT | correct the request; see `violations`. Without a code: a text is not Unicode |
 * | `conflict` | ALREADY_EXISTS | the id was used before, for different content |
 * | `precondition` | FAILED_PRECONDITION | not in the current state |
 * | `taken_over` | ABORTED | a newer stream has taken over the upload; do not retry |
 * | `not_found` | NOT_FOUND | nothing has this id, cursor or name |
 * | `unauthenticated` | UNAUTHENTICATED | the token is missing, invalid or expired |
 * | `permission_denied` | PERMISSION_DENIED | the token does not cover this |
 * | `quota_exceeded` | RESOURCE_EXHAUSTED | a limit is reached; wait for `retryDelaySeconds` |
 * | `unavailable` | UNAVAILABLE | retrying with the same ids is safe |
 * | `deadline` | DEADLINE_EXCEEDED | the call may have taken effect; retrying with the same ids is safe |
 * | `internal` | INTERNAL, UNKNOWN, DATA_LOSS | the server's log has the cause |
 * | `other` | all others | |
 * | `source_mismatch` | raised by the client | the upload began with another source, or was continued with one |
 */
export type ErrorKind =
  | "invalid_argument"
  | "conflict"
  | "precondition"
  | "taken_over"
  | "not_found"
  | "unauthenticated"
  | "permission_denied"
  | "quota_exceeded"
  | "unavailable"
  | "deadline"
  | "internal"
  | "other"
  | "source_mismatch";

/** One broken rule of one field of a request. */
export interface FieldViolation {
  /** Path from the request, such as `event.customer_info.last_payment_date.month`. */
  readonly field: string;
  /** Id of the rule, such as `string.max_len`. */
  readonly rule: string;
  /** A text for humans that includes the limit. */
  readonly description: string;
}

/** The parts of an error; only `kind` is required. */
export interface ErrorParts {
  readonly kind: ErrorKind;
  readonly code?: string | undefined;
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  readonly retryDelaySeconds?: number | undefined;
  readonly cause?: unknown;
}

// Without the service's reason these come from a broken connection or from a proxy.
const TRANSIENT_WITHOUT_REASON: ReadonlySet<string | undefined> = new Set(["INTERNAL", "UNKNOWN", "CANCELLED"]);

/** Why a call failed, for programs and for humans. */
export class EngagementError extends Error {
  override readonly name = "EngagementError";
  /** Classifies the error by how the caller should react. */
  readonly kind: ErrorKind;
  /** Name of the gRPC status, such as `INVALID_ARGUMENT`; undefined if the client itself raised the error. */
  readonly code: string | undefined;
  /** Name of an `ErrorReason` without its prefix; empty if the status did not come from the service. */
  readonly reason: string;
  /** The dynamic parts of the message by name. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The invalid fields; the server lists at most 32. */
  readonly violations: readonly FieldViolation[];
  /** The wait before the next attempt that the server requests, if it does. */
  readonly retryDelaySeconds: number | undefined;

  constructor(message: string, parts: ErrorParts) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.kind = parts.kind;
    this.code = parts.code;
    this.reason = parts.reason ?? "";
    this.metadata = parts.metadata ?? {};
    this.violations = parts.violations ?? [];
    this.retryDelaySeconds = parts.retryDelaySeconds;
  }

  /** Whether the same request may succeed later. */
  get isTransient(): boolean {
    switch (this.kind) {
      case "unavailable":
      case "deadline":
        return true;
      case "quota_exceeded":
        return this.retryDelaySeconds !== undefined;
      default:
        return this.reason === "" && TRANSIENT_WITHOUT_REASON.has(this.code);
    }
  }

  /** Whether the token of the call has expired, so that another one may help. @internal */
  get isExpiredToken(): boolean {
    return this.kind === "unauthenticated" && this.reason === "TOKEN_EXPIRED";
  }

  /** Code, reason and message on one line, then a line for each violation. */
  override toString(): string {
    const origin = [this.code, this.reason].filter((part) => part !== undefined && part !== "").join(" / ");
    const lines = [origin === "" ? this.message : `${origin}: ${this.message}`];
    for (const { field, rule, description } of this.violations) {
      lines.push(`  ${field === "" ? "" : `${field}: `}${description} (${rule})`);
    }
    const unnamed = Number(this.metadata.violationsTotal ?? 0) - this.violations.length;
    if (this.violations.length > 0 && unnamed > 0) {
      lines.push(`  and ${unnamed} more`);
    }
    return lines.join("\n");
  }
}
