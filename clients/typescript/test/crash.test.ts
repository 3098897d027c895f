/** Uploads and followers through crashes of a real server, with nothing lost and nothing twice. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import type { UploadProgress } from "@engagement-attributes/client";
import { Outcome } from "@engagement-attributes/client/v1";

import { event, events, ids, storedIds } from "./support/events.js";
import { TestServer } from "./support/server.js";

const options = { timeout: 120_000 };

describe("crashes", () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await TestServer.start();
  });

  afterEach(() => server.stop());

  test("an upload goes on by itself when its server is back", options, async () => {
    using client = server.connect();
    let restart: Promise<void> | undefined;
    const summary = await client.upload(events(ids(100_000)), {
      onProgress: ({ acknowledged }: UploadProgress) => {
        if (acknowledged > 20_000) {
          restart ??= server.crashAndRestart();
        }
      },
    });
    await restart;
    assert.ok(summary.reconnects > 0);
    assert.equal(summary.events, 100_000);
    assert.equal(summary.tally.rejected, 0n);
    assert.deepEqual(await storedIds(client), ids(100_000));
  });

  test("an upload whose run and server are gone is finished by another run", options, async () => {
    using client = server.connect();
    const abandoning = new AbortController();
    const abandoned = client.upload(events(ids(60_000)), {
      uploadId: "u-1",
      signal: abandoning.signal,
      onProgress: ({ acknowledged }: UploadProgress) => {
        if (acknowledged > 10_000) {
          abandoning.abort();
        }
      },
    });
    await assert.rejects(abandoned, { name: "AbortError" });
    await server.crashAndRestart();
    using another = server.connect({ accountId: client.accountId });
    const summary = await another.upload(events(ids(60_000)), { uploadId: "u-1" });
    assert.ok(summary.skippedEvents > 10_000);
    assert.equal(summary.events, 60_000);
    assert.deepEqual(await storedIds(another), ids(60_000));
  });

  test("a follower misses nothing and repeats nothing", options, async () => {
    using client = server.connect();
    const reconnects: string[] = [];
    using follower = client.follow({
      earliest: true,
      onReconnect: ({ kind }) => {
        reconnects.push(kind);
      },
    });
    await client.recordEvents(ids(5).map(event));
    const followed: string[] = [];
    for await (const { event: stored } of follower) {
      followed.push(stored?.eventId ?? "");
      if (followed.length === 3) {
        await server.crashAndRestart();
      }
      if (followed.length === 5) {
        await client.recordEvents(ids(10).slice(5).map(event));
      }
      if (followed.length === 10) {
        break;
      }
    }
    assert.deepEqual(followed, ids(10));
    assert.ok(reconnects.length > 0);
  });

  test("a call is made again, on a new connection, when the server is back", options, async () => {
    using client = server.connect();
    await client.recordEvent(event("e1"));
    const restart = server.crashAndRestart();
    // Made while there is no server; tries within the deadline may all come too early.
    let outcome: Outcome | undefined;
    while (outcome === undefined) {
      outcome = await client.recordEvent(event("e2")).then(
        (result) => result.outcome,
        (error: unknown) => {
          assert.equal((error as { kind: string }).kind, "unavailable");
          return undefined;
        },
      );
    }
    await restart;
    assert.ok(outcome === Outcome.ACCEPTED || outcome === Outcome.DUPLICATE);
  });
});
