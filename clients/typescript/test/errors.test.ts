/** The shared statuses, sent by a server that does nothing else, and what the typed error makes of each. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { EngagementClient, type ErrorKind, type FieldViolation } from "@engagement-attributes/client";
import { Metadata, type sendUnaryData, status as Code } from "@grpc/grpc-js";

import { event } from "./support/events.js";
import { engagementError } from "./support/expectations.js";
import { type BareRequest, StandIn } from "./support/stand-in.js";
import { readCases } from "./support/vectors.js";

interface Case {
  readonly name: string;
  readonly code: keyof typeof Code;
  readonly message: string;
  readonly details: string | null;
  readonly expected: {
    readonly kind: ErrorKind;
    readonly reason: string;
    readonly metadata: Readonly<Record<string, string>>;
    readonly violations: readonly FieldViolation[];
    readonly retry_delay_seconds: number | null;
    readonly is_transient: boolean;
  };
}

const cases = readCases("errors.json") as readonly Case[];

// Calls that end UNAVAILABLE wait between their tries; all cases together take no longer than one.
describe("errors", { concurrency: true }, () => {
  let server: StandIn;

  before(async () => {
    server = await StandIn.start("RecordEvent", refuse);
  });

  after(() => {
    server[Symbol.dispose]();
  });

  for (const { name, code, message, expected } of cases) {
    test(name, { timeout: 20_000 }, async () => {
      // A quota is waited for until the deadline.
      const timeoutSeconds = expected.kind === "quota_exceeded" ? 1 : undefined;
      using client = new EngagementClient(server.address, { accountId: "errors", token: name, timeoutSeconds });
      const error = await engagementError(client.recordEvent(event("e1")));
      assert.deepEqual(
        {
          code: error.code,
          message: error.message,
          kind: error.kind,
          reason: error.reason,
          metadata: error.metadata,
          violations: error.violations,
          retry_delay_seconds: error.retryDelaySeconds ?? null,
          is_transient: error.isTransient,
        },
        { code, message, ...expected },
      );
    });
  }

  test("the text of an error names code, reason and fields, and how many it does not name", async () => {
    using client = new EngagementClient(server.address, { accountId: "errors", token: "field-invalid" });
    const error = await engagementError(client.recordEvent(event("e1")));
    const [first, ...others] = error.toString().split("\n");
    assert.equal(first, "INVALID_ARGUMENT / FIELD_INVALID: why field-invalid");
    assert.equal(others[0], "  event.customer_info.balance: must be at most 50000 characters (string.max_len)");
  });
});

/** Ends a call with the status of the case that its token names. */
function refuse({ metadata }: BareRequest, callback: sendUnaryData<Buffer>): void {
  const authorization = String(metadata.get("authorization")[0]);
  const each = cases.find(({ name }) => authorization === `Bearer ${name}`);
  assert.ok(each !== undefined);
  const trailers = new Metadata();
  if (each.details !== null) {
    trailers.set("grpc-status-details-bin", Buffer.from(each.details, "base64"));
  }
  callback({ code: Code[each.code], details: each.message, metadata: trailers });
}
