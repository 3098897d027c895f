/** The cases that the clients of all languages share. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

import { ROOT } from "./server.js";

/** The cases of a file. They are read anew in every run. */
export function readCases(file: string): readonly unknown[] {
  const text = readFileSync(join(ROOT, "clients/vectors", file), "utf8");
  return (JSON.parse(text) as { readonly cases: readonly unknown[] }).cases;
}

/** Writes out what is repeated. */
export function expand(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null) {
    return value;
  }
  if (Array.isArray(value)) {
    return value.map(expand);
  }
  const { repeat, times, key, value: member } = value;
  if (repeat !== undefined && typeof times === "number") {
    return repeated(expand(repeat), times);
  }
  if (key !== undefined && member !== undefined) {
    return { [expand(key) as string]: expand(member) };
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, expand(each)]));
}

function repeated(unit: JsonValue, times: number): JsonValue {
  if (typeof unit === "string") {
    return unit.repeat(times);
  }
  const copies = Array.from({ length: times }, (_, number) => number);
  if (Array.isArray(unit)) {
    return copies.flatMap(() => unit);
  }
  const members = Object.entries(unit as JsonObject);
  return Object.fromEntries(copies.flatMap((number) => members.map(([name, each]) => [`${name}${number}`, each])));
}
