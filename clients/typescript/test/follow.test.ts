/** Following a real server. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { EngagementClient, type Follower, type FollowOptions } from "@engagement-attributes/client";

import { event, events, ids } from "./support/events.js";
import { rejectsWithKind } from "./support/expectations.js";
import { Proxy } from "./support/proxy.js";
import { TestServer } from "./support/server.js";
import { until } from "./support/until.js";

const options = { timeout: 30_000 };
const server = await TestServer.start();

describe("following", () => {
  after(() => server.stop());

  test("it hands out what is stored, then what comes", options, async () => {
    using client = server.connect();
    await client.recordEvents(ids(3).map(event));
    using follower = client.follow({ earliest: true });
    assert.deepEqual(await take(follower, 3), ids(3));
    await client.recordEvent(event("later"));
    assert.deepEqual(await take(follower, 1), ["later"]);
  });

  test("leaving the loop loses nothing: another goes on behind the cursor", options, async () => {
    using client = server.connect();
    await client.recordEvents(ids(9).map(event));
    using follower = client.follow({ earliest: true, stopAtTail: true });
    assert.deepEqual(await take(follower, 2), ids(9).slice(0, 2));
    assert.equal(follower.lagEvents, 7);
    using other = client.follow({ afterCursor: follower.cursor, stopAtTail: true });
    assert.deepEqual(await take(other, 9), ids(9).slice(2));
    assert.deepEqual(await take(follower, 9), ids(9).slice(2));
    assert.deepEqual(await take(follower, 9), []);
  });

  test("batches hold what single events would be, with the cursor that covers them", options, async () => {
    using client = server.connect();
    await client.upload(events(ids(1000)));
    using follower = client.follow({ earliest: true, stopAtTail: true, maxBatchEvents: 100 });
    const found: string[] = [];
    for await (const batch of follower.batches()) {
      assert.ok(batch.events.length <= 100);
      assert.equal(batch.cursor, follower.cursor);
      found.push(...batch.events.map((stored) => stored.event?.eventId ?? ""));
    }
    assert.deepEqual(found, ids(1000));
  });

  test("it starts at exactly one place", options, async () => {
    using client = server.connect();
    await client.recordEvent(event("e1"));
    const startTime = new Date(Date.now() - 3_600_000);
    assert.deepEqual(await take(client.follow({ startTime, stopAtTail: true }), 9), ["e1"]);
    assert.deepEqual(await take(client.follow({ latest: true, stopAtTail: true }), 9), []);
    const wrong: FollowOptions[] = [{}, { earliest: true, latest: true }, { afterCursor: "c", startTime }];
    for (const each of wrong) {
      assert.throws(() => client.follow(each), TypeError);
    }
  });

  test("it tells whether it is caught up", options, async () => {
    using client = server.connect();
    await client.recordEvents(ids(2).map(event));
    using follower = client.follow({ earliest: true, maxBatchEvents: 1 });
    const states: [boolean, number][] = [];
    const following = take(follower, 3, () => {
      states.push([follower.isCaughtUp, follower.lagEvents]);
    });
    await until(() => follower.isCaughtUp);
    await client.recordEvent(event("e3"));
    await following;
    assert.deepEqual(states, [
      [false, 1],
      [false, 0],
      [true, 0],
    ]);
    assert.equal(follower.isCaughtUp, false);
  });

  test("an erasure is told in its place, and again where it was not taken", options, async () => {
    using client = server.connect();
    const { accountId } = client;
    await client.recordEvent({ ...event("e1"), consumerId: "c1" });
    await client.recordEvent(event("e2"));
    const id = { case: "consumerId", value: "c1" } as const;
    await client.privacy.eraseConsumer({ accountId, requestId: "r-1", subjects: [{ id }] });
    await client.recordEvent(event("e3"));
    const story: string[] = [];
    const failure = new Error("cannot delete now");
    using follower = client.follow({
      earliest: true,
      stopAtTail: true,
      onErasure: async ({ erasedCursors }) => {
        await Promise.resolve();
        story.push(`${erasedCursors.length} erased`);
        if (story.length === 2) {
          throw failure;
        }
      },
    });
    const read = async (): Promise<void> => {
      for await (const stored of follower) {
        story.push(stored.event?.eventId ?? "");
      }
    };
    await assert.rejects(read(), failure);
    await read();
    assert.deepEqual(story, ["e2", "1 erased", "1 erased", "e3"]);
  });

  test("a signal cancels it with the signal's reason", options, async () => {
    using client = server.connect();
    const cancelling = new AbortController();
    const reason = new Error("enough");
    await client.recordEvent(event("e1"));
    const follower = client.follow({ earliest: true, signal: cancelling.signal });
    const following = take(follower, 2, () => {
      setImmediate(() => {
        cancelling.abort(reason);
      });
    });
    await assert.rejects(following, reason);
    assert.notEqual(follower.cursor, "");
    await assert.rejects(take(follower, 1), reason);
  });

  test("closing it ends the loop", options, async () => {
    using client = server.connect();
    await client.recordEvent(event("e1"));
    const follower = client.follow({ earliest: true });
    const following = take(follower, 2, () => {
      setImmediate(() => {
        follower.close();
      });
    });
    assert.deepEqual(await following, ["e1"]);
    assert.deepEqual(await take(follower, 2), []);
  });

  test("closing the client ends the loop with an error", options, async () => {
    const client = server.connect();
    await client.recordEvent(event("e1"));
    const following = take(client.follow({ earliest: true }), 2, () => {
      setImmediate(() => {
        client.close();
      });
    });
    await assert.rejects(following, { name: "AbortError" });
  });

  test("a wrong cursor is refused at once", options, async () => {
    using client = server.connect();
    await rejectsWithKind(take(client.follow({ afterCursor: "no cursor" }), 1), "invalid_argument");
  });

  test("nothing is read ahead of its reader but what one batch takes", options, async () => {
    using client = server.connect();
    const consumerId = "x".repeat(4096);
    await client.upload(ids(2000).map((eventId) => ({ ...event(eventId), consumerId })));
    using proxy = await Proxy.start(server.address);
    using slow = new EngagementClient(proxy.address, { accountId: client.accountId });
    using follower = slow.follow({ earliest: true, stopAtTail: true });
    let hasPaused = false;
    let followed = 0;
    for await (const stored of follower) {
      assert.equal(stored.event?.eventId, `event/${followed}`);
      followed += 1;
      if (!hasPaused) {
        hasPaused = true;
        // Time enough for all of it to arrive.
        assert.equal((await take(client.follow({ earliest: true, stopAtTail: true }), 2000)).length, 2000);
        assert.ok(proxy.receivedBytes < 1024 * 1024, `${proxy.receivedBytes} bytes`);
      }
    }
    assert.equal(followed, 2000);
    assert.ok(proxy.receivedBytes > 2000 * 4096);
  });

  test("a filter takes what it names", options, async () => {
    using client = server.connect();
    await client.recordEvents([event("e1"), { ...event("e2"), consumerId: "c1" }]);
    const filter = { consumerIds: ["c1"] };
    assert.deepEqual(await take(client.follow({ earliest: true, stopAtTail: true, filter }), 9), ["e2"]);
  });
});

/** The ids of the next events, at most `count`. */
async function take(follower: Follower, count: number, onEvent = (): void => undefined): Promise<string[]> {
  const found: string[] = [];
  for await (const { event: stored } of follower) {
    found.push(stored?.eventId ?? "");
    onEvent();
    if (found.length === count) {
      break;
    }
  }
  return found;
}
