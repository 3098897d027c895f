/** What tests expect of errors. */

import assert from "node:assert/strict";

import { EngagementError, type ErrorKind } from "@engagement-attributes/client";

/** The error that a promise rejects with, which must be one of the client's. */
export async function engagementError(promise: Promise<unknown>): Promise<EngagementError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof EngagementError, `unexpected ${String(error)}`);
    return error;
  }
  assert.fail("nothing was thrown");
}

/** Requires that a promise rejects with an error of the client of this kind. */
export async function rejectsWithKind(promise: Promise<unknown>, kind: ErrorKind): Promise<void> {
  const error = await engagementError(promise);
  assert.equal(error.kind, kind, error.toString());
}
