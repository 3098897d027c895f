/** Checking events before they are sent, against what the server says of them. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { EventInit } from "@engagement-attributes/client";
import { EventSchema } from "@engagement-attributes/client/v1";
import { violationsOf } from "@engagement-attributes/client/validation";

import { event } from "./support/events.js";
import { engagementError } from "./support/expectations.js";
import { TestServer } from "./support/server.js";
import { expand, readCases } from "./support/vectors.js";

interface RuleCase {
  readonly name: string;
  readonly field: string;
  readonly rule: string;
  readonly event: JsonValue;
  readonly valid_event: JsonValue;
}

const wrong: Readonly<Record<string, EventInit>> = {
  "no attributes": { eventId: "e1" },
  "a text that is too long": { ...event("e1"), consumerId: "x".repeat(50_001) },
  "a month that is none": customer({ lastPaymentDate: { year: 2014, month: 13, day: 15 } }),
  "a day that the calendar does not have": customer({ lastPaymentDate: { year: 2014, month: 2, day: 30 } }),
  "a time before time": customer({ serverTimeStamp: 0n }),
  "an empty key": { ...event("e1"), additionalAttributes: { "": "x" } },
  "two errors": { ...event("e\0"), source: "s".repeat(65) },
};

const server = await TestServer.start();

describe("validating", () => {
  after(() => server.stop());

  test("a valid event breaks no rule", () => {
    assert.deepEqual(violationsOf(event("e1")), []);
  });

  for (const { name, field, rule, event: broken, valid_event: valid } of readCases(
    "rules.json",
  ) as readonly RuleCase[]) {
    test(`rule: ${name}`, () => {
      const [violation, ...others] = violationsOf(fromJson(EventSchema, expand(broken)));
      assert.deepEqual(others, []);
      assert.equal(violation?.rule, rule);
      assert.equal(field.endsWith("[") ? violation.field.slice(0, field.length) : violation.field, field);
      assert.deepEqual(violationsOf(fromJson(EventSchema, expand(valid))), []);
    });
  }

  for (const [name, each] of Object.entries(wrong)) {
    test(`${name}: the same fields break the same rules`, { timeout: 30_000 }, async () => {
      using client = server.connect();
      const { violations } = await engagementError(client.recordEvent(each));
      assert.deepEqual(
        violationsOf(each).map(({ field, rule }) => [`event.${field}`, rule]),
        violations.map(({ field, rule }) => [field, rule]),
      );
    });
  }
});

function customer(value: (EventInit["attributes"] & { case: "customerInfo" })["value"]): EventInit {
  return { eventId: "e1", attributes: { case: "customerInfo", value } };
}
