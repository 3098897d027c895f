/**
 * Checks events against the rules of the contract before they are sent.
 *
 * It needs the package `@bufbuild/protovalidate`, which the rest of the client does without. Only the server can
 * check duplicates, ids that other content has, closed lists, and times against its clock.
 */

import { create } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";

import type { FieldViolation } from "./errors.js";
import { EventSchema } from "./gen/engagement/v1/index.js";
import type { EventInit } from "./upload/chunker.js";

const validator = createValidator();

/**
 * The rules that an event breaks, by the server's names of fields and rules, with paths from the event; empty where
 * it is valid. The descriptions are those of protovalidate.
 *
 * Throws where the rules themselves cannot be checked, which is a bug.
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
