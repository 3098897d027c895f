package io.github.engagementattributes;

import io.grpc.Status;

/** Classifies failed calls by how the caller should react. */
public enum ErrorKind {
  /** The request breaks a rule of the contract: correct it. */
  INVALID_ARGUMENT,
  /** The id was used before, for different content. */
  CONFLICT,
  /** The request is valid, but not in the current state, for example of an upload. */
  PRECONDITION,
  /** A newer stream has taken over the upload; do not retry. */
  TAKEN_OVER,
  /** Nothing has this id, cursor or name. */
  NOT_FOUND,
  /** The token is missing, invalid or expired. */
  UNAUTHENTICATED,
  /** The token does not cover this account or this kind of call. */
  PERMISSION_DENIED,
  /** A limit is reached; wait for the retry delay, if there is one. */
  QUOTA_EXCEEDED,
  /** The service cannot be reached or cannot answer now; retrying with the same ids is safe. */
  UNAVAILABLE,
  /** The call may have taken effect; retrying with the same ids is safe. */
  DEADLINE,
  /** The server failed unexpectedly. */
  INTERNAL,
  /** All other statuses. */
  OTHER,
  /** Raised by the client: the upload began with another source, or was continued with one. */
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
