/** Event ids: their format, their order, and that there are no two of one. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, mock, test } from "node:test";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

import { uuid7 } from "@engagement-attributes/client";

const THREADS = 4;
const IDS_PER_THREAD = 50_000;

const some = (): string[] => Array.from({ length: IDS_PER_THREAD }, uuid7);

if (isMainThread) {
  describe("ids", () => {
    test("an id is a UUIDv7 of now", () => {
      const beforeMs = Date.now();
      const id = uuid7();
      const afterMs = Date.now();
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      const milliseconds = parseInt(id.replace("-", "").slice(0, 12), 16);
      assert.ok(milliseconds >= beforeMs && milliseconds <= afterMs + 1);
    });

    test("each id is greater than the one before", () => {
      const made = some();
      assert.deepEqual(made, made.toSorted());
      assert.equal(new Set(made).size, made.length);
    });

    test("ids grow when the clock goes back", () => {
      const first = uuid7();
      const clock = mock.method(Date, "now", () => 0);
      const second = uuid7();
      clock.mock.restore();
      const third = uuid7();
      assert.ok(first < second && second < third);
    });

    test("threads make no id twice", { timeout: 60_000 }, async () => {
      const workers = Array.from({ length: THREADS }, () => new Worker(new URL(import.meta.url)));
      const made = await Promise.all(workers.map(async (worker) => (await once(worker, "message")) as [string[]]));
      const all = made.flatMap(([ids]) => ids);
      assert.equal(new Set(all).size, THREADS * IDS_PER_THREAD);
    });
  });
} else {
  parentPort?.postMessage(some());
}
