/** Uploads that an earlier run began: with the same source, with another one; with a real server. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { create } from "@bufbuild/protobuf";
import type { EngagementClient, EventInit, UploadSummary } from "@engagement-attributes/client";
import {
  EventSchema,
  SourceDigestSchema,
  UploadEventsResponse_OpenedSchema,
  Upload_State,
} from "@engagement-attributes/client/v1";
import { Chunk, serializeEvent } from "#dist/upload/chunk.js";
import { UploadLedger } from "#dist/upload/ledger.js";

import { event, events, ids, storedIds } from "./support/events.js";
import { engagementError } from "./support/expectations.js";
import { TestServer } from "./support/server.js";

const options = { timeout: 60_000 };
const server = await TestServer.start();

class SourceError extends Error {}

describe("resuming", () => {
  after(() => server.stop());

  test("a finished upload resolves with its summary for the same source", options, async () => {
    using client = server.connect();
    const first = await client.upload(events(ids(20)), { uploadId: "u-1" });
    const again = await client.upload(events(ids(20)), { uploadId: "u-1", chunkEvents: 3 });
    assert.deepEqual(again, { ...first, skippedEvents: 20 });
    assert.equal(again.resumedByCount, false);
  });

  const others: Readonly<Record<string, [EventInit[], RegExp]>> = {
    changed: [ids(20).map((id) => (id === "event/7" ? changed(id) : event(id))), /differs between events 5 and 10\./],
    reordered: [ids(20).reverse().map(event), /differs between events 0 and 5\./],
    shorter: [ids(19).map(event), /ends after 19 events\./],
    longer: [ids(21).map(event), /has more events\./],
    empty: [[], /ends after 0 events\./],
  };
  for (const [name, [source, difference]] of Object.entries(others)) {
    test(`a finished upload refuses a source that is ${name}`, options, async () => {
      using client = server.connect();
      await client.upload(events(ids(20)), { uploadId: "u-1", chunkEvents: 5 });
      await refuses(client, source, difference);
      assert.deepEqual(await storedIds(client), ids(20));
    });
  }

  test("a finished upload ends the comparison with an endless source", options, async () => {
    using client = server.connect();
    await client.upload(events(ids(20)), { uploadId: "u-1" });
    await refuses(client, endless(), /has more events\./);
  });

  test("a changed source is refused before anything is sent, and the right one goes on", options, async () => {
    using client = server.connect();
    await begin(client, 20);
    const source = ids(40).map((id) => (id === "event/12" ? changed(id) : event(id)));
    await refuses(client, source, /20 of its events are committed.* differs between events 10 and 15\./);
    await refuses(client, ids(40).reverse().map(event), /differs between events 0 and 5\./);
    await refuses(client, ids(19).map(event), /ends after 19 events\./);
    const { upload } = await client.ingest.getUpload({ accountId: client.accountId, uploadId: "u-1" });
    assert.equal(upload?.state, Upload_State.OPEN);
    assert.equal(upload.committedThrough, 4n);
    assert.deepEqual(await storedIds(client), ids(20));
    const summary = await client.upload(events(ids(40)), { uploadId: "u-1" });
    assert.equal(summary.tally.accepted, 40n);
    assert.equal(summary.skippedEvents, 20);
    assert.equal(summary.resumedByCount, false);
    assert.deepEqual(await storedIds(client), ids(40));
  });

  test("the committed events may be cut into chunks of another size", options, async () => {
    using client = server.connect();
    await begin(client, 23);
    const summary = await client.upload(events(ids(40)), { uploadId: "u-1", chunkEvents: 7 });
    assert.equal(summary.skippedEvents, 23);
    assert.deepEqual(await storedIds(client), ids(40));
  });

  test("an event that the client itself rejected has its place in the source", options, async () => {
    using client = server.connect();
    const source = (count: number): EventInit[] =>
      ids(count).map((id, n) => (n % 10 === 3 ? unsendable(id) : event(id)));
    const positions: number[] = [];
    await assert.rejects(client.upload(failingAfter(source(26)), { uploadId: "u-1", chunkEvents: 5 }), SourceError);
    const upload = (): Promise<UploadSummary> =>
      client.upload(source(44), { uploadId: "u-1", onRejection: ({ position }) => positions.push(position) });
    const summary = await upload();
    assert.deepEqual(positions, [3, 13, 23, 33, 43]);
    assert.equal(summary.tally.rejected, 5n);
    assert.equal(summary.tally.accepted, 39n);
    assert.equal(summary.skippedEvents, 26);
    const again = await upload();
    assert.deepEqual(again.tally, summary.tally);
    assert.equal(again.skippedEvents, 44);
  });

  test("events without ids are stored once, however often they are uploaded", options, async () => {
    using client = server.connect();
    const nameless = Array.from({ length: 50 }, (_, n) => ({ ...event(""), consumerId: `c${n % 7}` }));
    await assert.rejects(
      client.upload(failingAfter(nameless.slice(0, 20)), { uploadId: "u-1", chunkEvents: 15 }),
      SourceError,
    );
    const summary = await client.upload(nameless, { uploadId: "u-1" });
    assert.equal(summary.tally.accepted, 50n);
    const stored = await storedIds(client);
    assert.equal(new Set(stored).size, 50);
    assert.ok(stored.every((id) => id !== ""));
  });

  test("a cancelled comparison rejects with the reason", options, async () => {
    using client = server.connect();
    await client.upload(events(ids(20)), { uploadId: "u-1" });
    const cancelling = new AbortController();
    const reason = new Error("enough");
    async function* stopping(): AsyncGenerator<EventInit> {
      yield event("event/0");
      cancelling.abort(reason);
      await new Promise(() => undefined);
    }
    await assert.rejects(client.upload(stopping(), { uploadId: "u-1", signal: cancelling.signal }), reason);
  });

  test("an upload that was finished meanwhile is its own, with events at its end that were never sent", () => {
    const opened = (events: number, sha256: string) =>
      create(UploadEventsResponse_OpenedSchema, { committedThrough: 1n, source: { events: BigInt(events), sha256 } });
    const digest = (events: number, sha256: string) => create(SourceDigestSchema, { events: BigInt(events), sha256 });
    const ledger = new UploadLedger({});
    ledger.resume(undefined);
    ledger.add(new Chunk(1, 0, [serializeEvent(create(EventSchema, event("e1")))], digest(1, "one")));
    assert.ok(ledger.isOwnProgress(opened(1, "one")));
    assert.ok(!ledger.isOwnProgress(opened(1, "another")));
    assert.ok(!ledger.isOwnProgress(opened(2, "two")));
    ledger.finish(digest(2, "two"));
    assert.ok(ledger.isOwnProgress(opened(2, "two")));
    assert.ok(!ledger.isOwnProgress(opened(2, "another")));
  });
});

/** Begins an upload, of which so many events are committed in chunks of five. */
async function begin(client: EngagementClient, count: number): Promise<void> {
  const source = failingAfter(ids(count).map(event));
  await assert.rejects(client.upload(source, { uploadId: "u-1", chunkEvents: 5 }), SourceError);
}

async function refuses(client: EngagementClient, source: Iterable<EventInit>, difference: RegExp): Promise<void> {
  const error = await engagementError(client.upload(source, { uploadId: "u-1" }));
  assert.equal(error.kind, "source_mismatch");
  assert.match(error.message, /^upload "u-1" began with another source/);
  assert.match(error.message, difference);
}

function* failingAfter(source: readonly EventInit[]): Generator<EventInit, void> {
  yield* source;
  throw new SourceError();
}

function* endless(): Generator<EventInit, void> {
  for (let number = 0; ; number += 1) {
    yield event(`event/${number}`);
  }
}

function changed(eventId: string): EventInit {
  return { ...event(eventId), consumerId: "changed" };
}

function unsendable(eventId: string): EventInit {
  return { ...event(eventId), consumerId: "\ud800" };
}
