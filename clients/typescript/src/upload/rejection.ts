/** The errors of events that the client itself rejects, in the server's terms. */

import { create } from "@bufbuild/protobuf";

import type { EngagementError } from "../errors.js";
import { ErrorReason, type EventError, EventErrorSchema } from "../gen/engagement/v1/index.js";

/** The error of an event that is larger than events may be. */
export function tooLarge(sizeBytes: number, maxBytes: number): EventError {
  const description = `must take at most ${maxBytes} bytes, takes ${sizeBytes}`;
  return create(EventErrorSchema, {
    reason: ErrorReason.FIELD_INVALID,
    message: `the event ${description}`,
    violations: [{ rule: "server.event.max_bytes", description }],
    violationsTotal: 1,
    metadata: { field: "", rule: "server.event.max_bytes", description, violationsTotal: "1" },
  });
}

/** The error of an event with a text that is not Unicode, which serializing it threw. */
export function notUnicode({ message, violations }: EngagementError): EventError {
  const [first] = violations;
  return create(EventErrorSchema, {
    reason: ErrorReason.FIELD_INVALID,
    message,
    violations: [...violations],
    violationsTotal: violations.length,
    metadata: {
      field: first?.field ?? "",
      rule: first?.rule ?? "",
      description: first?.description ?? "",
      violationsTotal: `${violations.length}`,
    },
  });
}
