/** The one error that calls fail with, and what it tells: for programs by its kind, for people as text. */

/**
 * What an error means for the caller.
 *
 * | kind | status | |
 * | --- | --- | --- |
 * | `invalid_argument` | INVALID_ARGUMENT | correct the request; `violations` says where |
 * | `conflict` | ALREADY_EXISTS | the id stands for other content |
 * | `precondition` | FAILED_PRECONDITION | not in this state |
 * | `taken_over` | ABORTED | a newer stream goes on with the upload; this one must not |
 * | `not_found` | NOT_FOUND | nothing has this id, cursor or name |
 * | `unauthenticated` | UNAUTHENTICATED | the token is missing, wrong or too old |
 * | `permission_denied` | PERMISSION_DENIED | the token does not cover this |
 * | `quota_exceeded` | RESOURCE_EXHAUSTED | a limit is reached; wait for `retryDelaySeconds` |
 * | `unavailable` | UNAVAILABLE | trying again with the same ids is safe |
 * | `deadline` | DEADLINE_EXCEEDED | it may have happened; trying again with the same ids is safe |
 * | `internal` | INTERNAL, UNKNOWN, DATA_LOSS | the server's log has the cause |
 * | `other` | all others | |
 * | `source_mismatch` | made by the client | a resumed upload got a source that is too short |
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
  /** What is wrong and the limit, for people. */
  readonly description: string;
}

/** What an error is made of; all but `kind` may be left out. */
export interface ErrorParts {
  readonly kind: ErrorKind;
  readonly code?: string | undefined;
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  readonly retryDelaySeconds?: number | undefined;
  readonly cause?: unknown;
}

// Without a reason of the service these come from a broken connection or from a proxy.
const TRANSIENT_WITHOUT_REASON: ReadonlySet<string | undefined> = new Set(["INTERNAL", "UNKNOWN", "CANCELLED"]);

/** A call that failed: why, for programs and for people. */
export class EngagementError extends Error {
  override readonly name = "EngagementError";
  /** What it means for the caller. */
  readonly kind: ErrorKind;
  /** Name of the gRPC status, such as `INVALID_ARGUMENT`; undefined where the client itself found the error. */
  readonly code: string | undefined;
  /** Name of an `ErrorReason` without its prefix; empty where the status came from elsewhere. */
  readonly reason: string;
  /** All dynamic text of the message. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields that are wrong; the server names at most 32. */
  readonly violations: readonly FieldViolation[];
  /** How long the server asks to wait before the next try, if it does. */
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

  /** Code, reason and message in one line, then a line for each violation. */
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
