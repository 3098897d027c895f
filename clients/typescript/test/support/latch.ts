/** A wait for something that a test makes happen. */

/** Is passed once it has been opened. */
export class Latch {
  readonly passed: Promise<void>;
  open: () => void = () => undefined;

  constructor() {
    this.passed = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}
