/** Deadlines, cancellations, tries and the end of connections. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";

import { EngagementClient, type EventInit } from "@engagement-attributes/client";
import { status } from "@grpc/grpc-js";

import { event, events, ids } from "./support/events.js";
import { engagementError, rejectsWithKind } from "./support/expectations.js";
import { TestServer } from "./support/server.js";
import { StandIn } from "./support/stand-in.js";
import { until } from "./support/until.js";

const options = { timeout: 30_000 };
const accountId = "connect";

// Takes connections and never says a word.
const sockets = new Set<Socket>();
const silent = createServer((socket) => sockets.add(socket)).listen(0, "127.0.0.1");
await once(silent, "listening");
const silentAddress = `127.0.0.1:${(silent.address() as AddressInfo).port}`;

describe("connecting", () => {
  after(() => {
    silent.close();
    for (const socket of sockets) {
      socket.destroy();
    }
  });

  test("a call has the deadline of its client", options, async () => {
    using client = new EngagementClient(silentAddress, { accountId, timeoutSeconds: 0.2 });
    const error = await engagementError(client.recordEvent(event("e1")));
    assert.equal(error.kind, "deadline");
    assert.equal(error.code, "DEADLINE_EXCEEDED");
    assert.ok(error.isTransient);
  });

  test("a call may bring its own deadline", options, async () => {
    using client = new EngagementClient(silentAddress, { accountId });
    await rejectsWithKind(client.server.getServerInfo({}, { timeoutSeconds: 0.2 }), "deadline");
  });

  test("a signal cancels a call with the signal's reason", options, async () => {
    using client = new EngagementClient(silentAddress, { accountId });
    const cancelling = new AbortController();
    const reason = new Error("enough");
    const call = client.recordEvent(event("e1"), { signal: cancelling.signal });
    setImmediate(() => {
      cancelling.abort(reason);
    });
    await assert.rejects(call, reason);
    await assert.rejects(client.recordEvent(event("e1"), { signal: cancelling.signal }), reason);
    await assert.rejects(client.recordEvent(event("e1"), { signal: AbortSignal.timeout(100) }), {
      name: "TimeoutError",
    });
  });

  test("an upload that nobody answers ends with the error of its last connection", options, async () => {
    using client = new EngagementClient(silentAddress, { accountId, timeoutSeconds: 0.2 });
    await rejectsWithKind(client.upload(events(ids(1)), { maxOutageSeconds: 0.5 }), "unavailable");
  });

  test("a call without a server is unavailable, after some tries", options, async () => {
    using client = new EngagementClient(await unusedAddress(), { accountId });
    const startedAtMs = performance.now();
    await rejectsWithKind(client.recordEvent(event("e1")), "unavailable");
    // Four waits of 0.1 to 0.8 s, each a fifth less at the least.
    assert.ok(performance.now() - startedAtMs > 1190);
  });

  test("a closed client ends an upload and a follower that wait for its server", options, async () => {
    using client = new EngagementClient(await unusedAddress(), { accountId });
    const upload = client.upload(events(ids(1)), {
      onProgress: ({ reconnects }) => {
        if (reconnects === 3) {
          client.close();
        }
      },
    });
    await Promise.all([
      assert.rejects(upload, { name: "AbortError" }),
      assert.rejects(client.follow({ latest: true })[Symbol.asyncIterator]().next(), { name: "AbortError" }),
    ]);
  });

  test("a request of more than 4 MiB is sent again like a small one", options, async () => {
    const sizes: number[] = [];
    using server = await StandIn.start("RecordEvents", ({ request }, callback) => {
      sizes.push(request.length);
      callback(sizes.length < 3 ? { code: status.UNAVAILABLE, details: "not yet" } : null, Buffer.alloc(0));
    });
    using client = new EngagementClient(server.address, { accountId });
    await client.recordEvents(ids(90).map(large));
    assert.equal(sizes.length, 3);
    assert.ok(sizes.every((size) => size > 4 * 1024 * 1024 && size === sizes[0]));
  });

  test("a closed client cancels what runs, refuses what comes and leaves nothing behind", options, async () => {
    const server = await TestServer.start();
    const countSockets = (): number =>
      process.getActiveResourcesInfo().filter((resource) => resource === "TCPSocketWrap").length;
    const client = server.connect();
    await client.recordEvent(event("e1"));
    const waiting = client.events.subscribeEvents({
      accountId: client.accountId,
      start: { case: "latest", value: true },
    });
    assert.equal((await waiting.read())?.message.case, "started");
    const connected = countSockets();
    client.close();
    await assert.rejects(waiting.read(), { name: "AbortError" });
    await assert.rejects(client.recordEvent(event("e2")), { name: "AbortError" });
    await until(() => countSockets() < connected);
    await server.stop();
  });
});

/** Where nobody listens. */
async function unusedAddress(): Promise<string> {
  const unused = createServer().listen(0, "127.0.0.1");
  await once(unused, "listening");
  const { port } = unused.address() as AddressInfo;
  await promisify(unused.close.bind(unused))();
  return `127.0.0.1:${port}`;
}

function large(eventId: string): EventInit {
  return { ...event(eventId), consumerId: "x".repeat(50_000) };
}
