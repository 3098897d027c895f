/** UUIDv7 (RFC 9562): ids that increase with time and so keep neighbours together in the store. */

import { randomFillSync } from "node:crypto";

const COUNTER_BITS = 42;
const POOL_BYTES = 4096;

// Random bytes are drawn in bulk: each draw is a call into the system's generator.
const pool = Buffer.allocUnsafe(POOL_BYTES);
let poolOffset = POOL_BYTES;

let lastMs = 0;
let counter = 0;

/**
 * Returns a new UUIDv7 as text, greater than all that this thread generated before.
 *
 * It consists of 48 bits of epoch milliseconds, a 42-bit counter that starts at a random number every millisecond,
 * and 32 random bits.
 */
export function uuid7(): string {
  const nowMs = Date.now();
  if (nowMs > lastMs) {
    lastMs = nowMs;
    counter = randomCounter();
  } else {
    // Also if the clock goes back. Half of the counter is unused at first, which no process can exhaust.
    counter += 1;
  }
  const high = Math.floor(counter / 2 ** 30);
  const low = counter % 2 ** 30;
  const time = hex(lastMs, 12);
  const variant = hex(0x8000_0000 + low, 8);
  return (
    `${time.slice(0, 8)}-${time.slice(8)}-7${hex(high, 3)}-` +
    `${variant.slice(0, 4)}-${variant.slice(4)}${hex(randomUint32(), 8)}`
  );
}

/** The highest bit stays free for counting. */
function randomCounter(): number {
  return (randomUint32() % 2 ** (COUNTER_BITS - 1 - 32)) * 2 ** 32 + randomUint32();
}

function randomUint32(): number {
  if (poolOffset + 4 > POOL_BYTES) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  const number = pool.readUInt32BE(poolOffset);
  poolOffset += 4;
  return number;
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, "0");
}
