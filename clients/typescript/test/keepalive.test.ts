/** A connection that goes silent without an end, as behind a firewall that drops it. It takes 40 s to be sure. */

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { EngagementClient, type ErrorKind } from "@engagement-attributes/client";

import { event } from "./support/events.js";
import { Proxy } from "./support/proxy.js";
import { TestServer } from "./support/server.js";

const server = await TestServer.start();

describe("keepalive", () => {
  after(() => server.stop());

  test("a connection that does not answer a ping is made anew", { timeout: 90_000 }, async () => {
    using proxy = await Proxy.start(server.address);
    using client = new EngagementClient(proxy.address, { accountId: "keepalive" });
    using direct = server.connect({ accountId: "keepalive" });
    await direct.recordEvent(event("e1"));
    const losses: ErrorKind[] = [];
    let silentAtMs = 0;
    using follower = client.follow({
      earliest: true,
      // The server may be silent for so long that only the ping finds out.
      heartbeatSeconds: 60,
      onReconnect: ({ kind }) => {
        losses.push(kind);
      },
    });
    for await (const stored of follower) {
      if (stored.event?.eventId === "e2") {
        break;
      }
      proxy.silence();
      silentAtMs = performance.now();
      await direct.recordEvent(event("e2"));
    }
    assert.deepEqual(losses, ["unavailable"]);
    const seconds = (performance.now() - silentAtMs) / 1000;
    assert.ok(seconds > 9 && seconds < 45, `${seconds} s`);
  });
});
