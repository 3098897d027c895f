/**
 * Checks events against the rules of the contract before they are sent.
 *
 * Needs the package `@bufbuild/protovalidate`, which the rest of the client does not. Only the server can check
 * duplicates, ids used for different content, closed lists, and times against its clock.
 */

import { create } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";

import type { FieldViolation } from "./errors.js";
import { EventSchema } from "./gen/engagement/v1/index.js";
import type { EventInit } from "./upload/chunker.js";

const validator = createValidator();

/**
 * Returns the rules that an event breaks; empty if it is valid. Fields and rules are named as by the server, with
 * paths from the event; the descriptions are protovalidate's.
 *
 * Throws if the rules themselves cannot be evaluated, which is a bug.
 */
export function violationsOf(event: EventInit): readonly FieldViolation[] {
  const result = validator.validate(EventSchema, create(EventSchema, event));
  switch (result.kind) {
    case "valid":
      return [];
    case "invalid":
      return result.violations.map(({ field, ruleId, message }) => ({
        field: pathToString(field),
        rule: ruleId,
        description: message,
      }));
    case "error":
      throw result.error;
  }
}
