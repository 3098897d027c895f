/** The cases that the clients of all languages share. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./server.js";

/** The cases of a file. They are read anew in every run. */
export function readCases(file: string): readonly unknown[] {
  const text = readFileSync(join(ROOT, "clients/vectors", file), "utf8");
  return (JSON.parse(text) as { readonly cases: readonly unknown[] }).cases;
}
