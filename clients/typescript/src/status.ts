/** Translates gRPC statuses into typed errors, here and nowhere else. */

import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import { type StatusObject, status as Code } from "@grpc/grpc-js";

import { EngagementError, type ErrorKind, type ErrorParts, type FieldViolation } from "./errors.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

const DETAILS_KEY = "grpc-status-details-bin";

const KINDS: Readonly<Partial<Record<Code, ErrorKind>>> = {
  [Code.INVALID_ARGUMENT]: "invalid_argument",
  [Code.ALREADY_EXISTS]: "conflict",
  [Code.FAILED_PRECONDITION]: "precondition",
  [Code.ABORTED]: "taken_over",
  [Code.NOT_FOUND]: "not_found",
  [Code.UNAUTHENTICATED]: "unauthenticated",
  [Code.PERMISSION_DENIED]: "permission_denied",
  [Code.RESOURCE_EXHAUSTED]: "quota_exceeded",
  [Code.UNAVAILABLE]: "unavailable",
  [Code.DEADLINE_EXCEEDED]: "deadline",
  [Code.INTERNAL]: "internal",
  [Code.UNKNOWN]: "internal",
  [Code.DATA_LOSS]: "internal",
};

type Details = Pick<ErrorParts, "reason" | "metadata" | "violations" | "retryDelaySeconds">;

/** The typed error for a status that is not OK, including the server's details. */
export function errorFromStatus(status: StatusObject): EngagementError {
  return new EngagementError(status.details === "" ? "no message" : status.details, {
    kind: KINDS[status.code] ?? "other",
    code: Code[status.code],
    ...readDetails(status),
  });
}

function readDetails(status: StatusObject): Details {
  const [serialized] = status.metadata.get(DETAILS_KEY);
  if (!(serialized instanceof Uint8Array)) {
    return {};
  }
  try {
    return parseDetails(serialized);
  } catch {
    // Not written by the service but on the way: the code and the message must do.
    return {};
  }
}

function parseDetails(serialized: Uint8Array): Details {
  let info: Pick<Details, "reason" | "metadata"> = {};
  let violations: readonly FieldViolation[] = [];
  let retryDelaySeconds: number | undefined;
  for (const detail of fromBinary(StatusSchema, serialized).details) {
    const errorInfo = anyUnpack(detail, ErrorInfoSchema);
    const retryInfo = anyUnpack(detail, RetryInfoSchema);
    const badRequest = anyUnpack(detail, BadRequestSchema);
    if (errorInfo !== undefined) {
      info = { reason: errorInfo.reason, metadata: errorInfo.metadata };
    } else if (retryInfo?.retryDelay !== undefined) {
      retryDelaySeconds = durationMs(retryInfo.retryDelay) / 1000;
    } else if (badRequest !== undefined) {
      violations = badRequest.fieldViolations.map(({ field, reason, description }) => ({
        field,
        rule: reason,
        description,
      }));
    }
  }
  return { ...info, violations, retryDelaySeconds };
}
