package io.github.engagementattributes;

import io.grpc.Status;

/** What a failed call means for the caller. */
public enum ErrorKind {
  /** The request breaks a rule of the contract: correct it. */
  INVALID_ARGUMENT,
  /** The id was used before, for other content. */
  CONFLICT,
  /** The request is right, but not in the present state, of an upload for example. */
  PRECONDITION,
  /** A newer stream goes on with the upload; this one must not. */
  TAKEN_OVER,
  /** There is nothing with this id, cursor or name. */
  NOT_FOUND,
  /** The token is missing, wrong or too old. */
  UNAUTHENTICATED,
  /** The token does not cover this account or this kind of call. */
  PERMISSION_DENIED,
  /** A limit on the use of the service is reached. */
  QUOTA_EXCEEDED,
  /** The service cannot be reached or cannot answer now; the same ids again are safe. */
  UNAVAILABLE,
  /** No answer in time: the call may have happened; the same ids again are safe. */
  DEADLINE,
  /** The server failed in a way that it did not foresee. */
  INTERNAL,
  /** A status that none of the others stands for. */
  OTHER,
  /** Found by the client: a resumed upload got a source with fewer events than are committed. */
  SOURCE_MISMATCH;

  static ErrorKind of(Status.Code code) {
    return switch (code) {
      case INVALID_ARGUMENT -> INVALID_ARGUMENT;
      case ALREADY_EXISTS -> CONFLICT;
      case FAILED_PRECONDITION -> PRECONDITION;
      case ABORTED -> TAKEN_OVER;
      case NOT_FOUND -> NOT_FOUND;
      case UNAUTHENTICATED -> UNAUTHENTICATED;
      case PERMISSION_DENIED -> PERMISSION_DENIED;
      case RESOURCE_EXHAUSTED -> QUOTA_EXCEEDED;
      case UNAVAILABLE -> UNAVAILABLE;
      case DEADLINE_EXCEEDED -> DEADLINE;
      case INTERNAL, UNKNOWN, DATA_LOSS -> INTERNAL;
      default -> OTHER;
    };
  }
}
