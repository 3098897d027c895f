/** A wait of one task for another. */

/** Wakes the one task that waits for it; a wake without a waiter is kept for the next wait. */
export class Wakeup {
  #isDue = false;
  #resolve: (() => void) | undefined;

  /** Ends the present wait, or the next one. */
  wake(): void {
    this.#isDue = true;
    this.#resolve?.();
  }

  /** Waits for the next wake, which may be spurious: check the condition again. */
  async wait(): Promise<void> {
    if (!this.#isDue) {
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
    }
    this.#resolve = undefined;
    this.#isDue = false;
  }
}
