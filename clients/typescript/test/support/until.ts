/** Waits for what no promise tells. */

import { setImmediate } from "node:timers/promises";

/** Resolves when the condition holds; the deadline is that of the test. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await setImmediate();
  }
}
