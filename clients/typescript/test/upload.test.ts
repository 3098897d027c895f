/** Uploads that nothing disturbs, that the caller ends, and what is told of them; with a real server. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { EngagementClient, type EventInit, type RejectedEvent, uuid7 } from "@engagement-attributes/client";
import { Upload_State } from "@engagement-attributes/client/v1";

import { event, events, ids, storedIds } from "./support/events.js";
import { rejectsWithKind } from "./support/expectations.js";
import { Latch } from "./support/latch.js";
import { TestServer } from "./support/server.js";

const options = { timeout: 60_000 };
const server = await TestServer.start();

describe("uploading", () => {
  after(() => server.stop());

  test("100,000 events are stored once each, in the order of the source", options, async () => {
    using client = server.connect();
    const eventIds = ids(100_000);
    let acknowledged = 0;
    const summary = await client.upload(events(eventIds), {
      uploadId: "u-1",
      onProgress: (progress) => {
        assert.ok(progress.acknowledged >= acknowledged && progress.sent >= progress.acknowledged);
        acknowledged = progress.acknowledged;
      },
    });
    assert.equal(summary.uploadId, "u-1");
    assert.equal(summary.events, 100_000);
    assert.equal(summary.tally.accepted, 100_000n);
    assert.equal(summary.reconnects, 0);
    assert.equal(summary.skippedEvents, 0);
    assert.equal(acknowledged, 100_000);
    assert.deepEqual(await storedIds(client), eventIds);
  });

  test("each rejected event is told once, with its position and as it was sent", options, async () => {
    using client = server.connect();
    const source = ids(2000).map(event);
    source[700] = { consumerId: "without attributes" };
    source[1999] = { eventId: "event/3", consumerId: "other content", attributes: personalInfo() };
    const rejected: RejectedEvent[] = [];
    const summary = await client.upload(source, { onRejection: (each) => rejected.push(each) });
    assert.equal(summary.tally.rejected, 2n);
    assert.equal(summary.tally.accepted, 1998n);
    assert.deepEqual(
      rejected.map(({ position, event: { consumerId } }) => [position, consumerId]),
      [
        [700, "without attributes"],
        [1999, "other content"],
      ],
    );
    assert.equal(rejected[0]?.event.eventId, "");
    assert.equal(rejected[0].error.violations[0]?.field, "attributes");
  });

  test("what a source changes after it has given it does not count", options, async () => {
    using client = server.connect();
    function* reusing(): Generator<EventInit> {
      const reused: { eventId: string } & EventInit = { ...event(""), eventId: "" };
      for (const eventId of ids(1200)) {
        reused.eventId = eventId;
        yield reused;
      }
    }
    await client.upload(reusing());
    assert.deepEqual(await storedIds(client), ids(1200));
  });

  test("what a source gave is committed while it pauses", options, async () => {
    using client = server.connect();
    const acked = new Latch();
    async function* pausing(): AsyncGenerator<EventInit> {
      yield event("e1");
      await acked.passed;
      yield event("e2");
    }
    const summary = await client.upload(pausing(), {
      onProgress: ({ acknowledged }) => {
        if (acknowledged === 1) {
          acked.open();
        }
      },
    });
    assert.equal(summary.tally.accepted, 2n);
  });

  test("what a source threw comes out behind what it gave, and the upload stays open", options, async () => {
    using client = server.connect();
    const failure = new Error("the source is broken");
    function* failing(): Generator<EventInit> {
      yield* events(ids(700));
      throw failure;
    }
    await assert.rejects(client.upload(failing(), { uploadId: "u-1" }), failure);
    assert.deepEqual(await storedIds(client), ids(700));
    const { upload } = await client.ingest.getUpload({ accountId: client.accountId, uploadId: "u-1" });
    assert.equal(upload?.state, Upload_State.OPEN);
    const summary = await client.upload(events(ids(800)), { uploadId: "u-1" });
    assert.equal(summary.skippedEvents, 700);
    assert.equal(summary.tally.accepted, 800n);
  });

  test("a cancelled upload ends its source, and another run finishes it", options, async () => {
    using client = server.connect();
    const cancelling = new AbortController();
    const reason = new Error("enough");
    let hasEnded = false;
    function* source(): Generator<EventInit> {
      try {
        yield* events(ids(50_000));
      } finally {
        hasEnded = true;
      }
    }
    const upload = client.upload(source(), {
      uploadId: "u-1",
      signal: cancelling.signal,
      onProgress: ({ acknowledged }) => {
        if (acknowledged > 2000) {
          cancelling.abort(reason);
        }
      },
    });
    await assert.rejects(upload, reason);
    assert.ok(hasEnded);
    const summary = await client.upload(events(ids(50_000)), { uploadId: "u-1" });
    assert.ok(summary.skippedEvents > 2000);
    assert.equal(summary.events, 50_000);
    assert.equal(summary.tally.accepted, 50_000n);
    assert.deepEqual(await storedIds(client), ids(50_000));
  });

  test("an upload that is cancelled before it begins reads nothing", options, async () => {
    using client = server.connect();
    const reason = new Error("never mind");
    await assert.rejects(client.upload(unreadable(), { signal: AbortSignal.abort(reason) }), reason);
  });

  test("what a callback throws ends the upload", options, async () => {
    using client = server.connect();
    const failure = new Error("cannot report");
    const onProgress = (): never => {
      throw failure;
    };
    await assert.rejects(client.upload(events(ids(10)), { onProgress }), failure);
  });

  test("a newer stream takes an upload over", options, async () => {
    using client = server.connect();
    const never = new Latch();
    const isUnderWay = new Latch();
    async function* endless(): AsyncGenerator<EventInit> {
      yield event("e1");
      await never.passed;
    }
    const older = client.upload(endless(), {
      uploadId: "u-1",
      onProgress: () => {
        isUnderWay.open();
      },
    });
    await Promise.all([
      rejectsWithKind(older, "taken_over"),
      isUnderWay.passed.then(() => client.upload(events(["e1", "e2"]), { uploadId: "u-1" })),
    ]);
    never.open();
  });

  test("an upload ends with its client", options, async () => {
    const client = new EngagementClient(server.address, { accountId: uuid7() });
    const upload = client.upload(events(ids(50_000)), {
      onProgress: () => {
        client.close();
      },
    });
    await assert.rejects(upload, { name: "AbortError" });
  });
});

function unreadable(): Iterable<EventInit> {
  return {
    [Symbol.iterator]: () => {
      throw new Error("the source was read");
    },
  };
}

function personalInfo(): EventInit["attributes"] & object {
  return { case: "personalInfo", value: { name: "Ada" } };
}
