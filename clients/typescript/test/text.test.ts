/** Text that is not Unicode, which JavaScript has and the contract has not; with a real server. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";
import type { EventInit, RejectedEvent } from "@engagement-attributes/client";
import { EntityKind, ErrorReason, EventSchema } from "@engagement-attributes/client/v1";

import { event, events, ids, storedIds } from "./support/events.js";
import { engagementError } from "./support/expectations.js";
import { TestServer } from "./support/server.js";

const HALF = "😀".slice(0, 1);
const options = { timeout: 60_000 };
const server = await TestServer.start();

const malformed: Readonly<Record<string, EventInit>> = {
  event_id: { ...event("e1"), eventId: HALF },
  "customer_info.balance": { attributes: { case: "customerInfo", value: { balance: `12${HALF}` } } },
  "personal_info.other_contacts[1].phone": {
    attributes: { case: "personalInfo", value: { otherContacts: [{}, { phone: `${HALF}1` }] } },
  },
  'additional_attributes["k"]': { ...event("e1"), additionalAttributes: { a: "1", k: HALF } },
  'additional_attributes["\\ud83d"]': { ...event("e1"), additionalAttributes: { [HALF]: "v" } },
};

describe("text that is not Unicode", () => {
  after(() => server.stop());

  for (const [field, each] of Object.entries(malformed)) {
    test(`${field} is refused before it is sent`, options, async () => {
      using client = server.connect();
      const error = await engagementError(client.recordEvent(each));
      assert.equal(error.kind, "invalid_argument");
      assert.equal(error.code, undefined);
      assert.equal(error.reason, "FIELD_INVALID");
      assert.deepEqual(
        error.violations.map((violation) => [violation.field, violation.rule]),
        [[`event.${field}`, "string.utf8"]],
      );
      assert.ok(error.message.startsWith(`event.${field}: must be Unicode text`), error.message);
      assert.deepEqual(await storedIds(client), []);
    });

    test(`${field} is rejected from an upload, which goes on`, options, async () => {
      using client = server.connect();
      const source = (): EventInit[] => [event("first"), each, event("last")];
      const rejected: RejectedEvent[] = [];
      const upload = { uploadId: "u-1", onRejection: (rejection: RejectedEvent) => rejected.push(rejection) };
      const summary = await client.upload(source(), upload);
      assert.equal(summary.tally.accepted, 2n);
      assert.equal(summary.tally.rejected, 1n);
      assert.equal(summary.events, 3);
      assert.deepEqual(
        rejected.map(({ position, error }) => [position, error.reason, error.violations[0]?.field]),
        [[1, ErrorReason.FIELD_INVALID, field]],
      );
      assert.equal(rejected[0]?.error.violations[0]?.rule, "string.utf8");
      assert.deepEqual(await storedIds(client), ["first", "last"]);
      assert.deepEqual((await client.upload(source(), upload)).tally, summary.tally);
    });
  }

  test("a batch is refused, with the number of its event", options, async () => {
    using client = server.connect();
    const batch = [event("e1"), { ...event("e2"), consumerId: HALF }];
    const error = await engagementError(client.recordEvents(batch, { allowPartial: true }));
    assert.equal(error.violations[0]?.field, "events[1].consumer_id");
    assert.deepEqual(await storedIds(client), []);
  });

  test("other calls and uploads refuse it too", options, async () => {
    using client = server.connect();
    const { accountId } = client;
    const putting = client.entities.putEntities({ accountId, kind: EntityKind.CUSTOMER_TYPE, names: ["vip", HALF] });
    assert.equal((await engagementError(putting)).violations[0]?.field, "names[1]");
    const upload = await engagementError(client.upload(events(ids(1)), { uploadId: HALF }));
    assert.equal(upload.violations[0]?.field, "open.upload_id");
  });

  test("the character that others put in its place is text like any other", options, async () => {
    using client = server.connect();
    const replaced = { ...event("e1"), consumerId: "\ufffd" };
    await client.recordEvent(replaced);
    assert.equal((await client.upload([replaced])).tally.duplicate, 1n);
    assert.ok(Buffer.from(toBinary(EventSchema, create(EventSchema, replaced))).includes("\ufffd"));
  });
});
