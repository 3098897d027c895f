/** Serializes messages, and refuses text that is not Unicode. */

import { type DescField, type DescMessage, type MessageShape, ScalarType, toBinary } from "@bufbuild/protobuf";

import { EngagementError } from "./errors.js";

type Values = Readonly<Record<string, unknown>>;

const DESCRIPTION = "must be Unicode text, has an unpaired surrogate";

/**
 * The bytes of a message.
 *
 * Throws an EngagementError with the field if a text is not Unicode, and the library's error if a value has a wrong
 * type. A JavaScript string may hold one half of a surrogate pair, often because it was cut in the middle; the library
 * would send another character in its place.
 */
export function serialize<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): Uint8Array<ArrayBuffer> {
  const serialized = toBinary(schema, message);
  const field = malformedText(schema, message);
  if (field !== undefined) {
    throw new EngagementError(`${field}: ${DESCRIPTION}`, {
      kind: "invalid_argument",
      reason: "FIELD_INVALID",
      violations: [{ field, rule: "string.utf8", description: DESCRIPTION }],
    });
  }
  return serialized;
}

/** Path of the first text of a message that is not Unicode. */
function malformedText(schema: DescMessage, message: Values): string | undefined {
  // The library represents some of its messages by other types in memory.
  if (schema.typeName.startsWith("google.protobuf.")) {
    return undefined;
  }
  for (const field of schema.fields) {
    const value =
      field.oneof === undefined ? message[field.localName] : memberOf(message[field.oneof.localName], field);
    const path = value === undefined ? undefined : malformedValue(field, value);
    if (path !== undefined) {
      return `${field.name}${path}`;
    }
  }
  return undefined;
}

function memberOf(group: unknown, { localName }: DescField): unknown {
  const member = group as { readonly case?: string; readonly value?: unknown };
  return member.case === localName ? member.value : undefined;
}

/** Path from a field to its first text that is not Unicode; empty if that is the field itself. */
function malformedValue(field: DescField, value: unknown): string | undefined {
  switch (field.fieldKind) {
    case "list":
      return malformedItem(field, (value as readonly unknown[]).entries());
    case "map":
      return malformedItem(field, Object.entries(value as Values));
    default:
      return malformedSingle(field, value);
  }
}

function malformedItem(
  field: DescField & { fieldKind: "list" | "map" },
  items: Iterable<[string | number, unknown]>,
): string | undefined {
  for (const [key, value] of items) {
    const path = isMalformed(key) ? "" : malformedSingle(field, value);
    if (path !== undefined) {
      return `[${JSON.stringify(key)}]${path}`;
    }
  }
  return undefined;
}

function malformedSingle({ message, scalar }: DescField, value: unknown): string | undefined {
  if (message !== undefined) {
    const path = malformedText(message, value as Values);
    return path && `.${path}`;
  }
  return scalar === ScalarType.STRING && isMalformed(value) ? "" : undefined;
}

function isMalformed(value: unknown): boolean {
  return typeof value === "string" && !value.isWellFormed();
}
