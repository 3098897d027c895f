/** How long to wait before the next connection, and when to give up. */

import type { EngagementError } from "./errors.js";

const FIRST_DELAY_SECONDS = 0.1;
const LONGEST_DELAY_SECONDS = 5;
const DEFAULT_MAX_OUTAGE_SECONDS = 300;

/** The time since the last progress, with growing waits. */
export class Outage {
  readonly #maxSeconds: number;
  #beganAtMs: number | undefined;
  #failures = 0;
  readonly #renewsToken: boolean;
  #hasRenewedToken = false;

  /** With `renewsToken`, an expired token is an outage, too, once without progress. */
  constructor(maxSeconds: number | undefined, renewsToken: boolean) {
    this.#maxSeconds = maxSeconds ?? DEFAULT_MAX_OUTAGE_SECONDS;
    this.#renewsToken = renewsToken;
  }

  /** Records progress: the next failure begins a new outage. */
  end(): void {
    this.#beganAtMs = undefined;
    this.#failures = 0;
    this.#hasRenewedToken = false;
  }

  /** Seconds to wait before the next attempt. Throws the error if that is too late or cannot help. */
  delayAfter(error: EngagementError): number {
    if (this.#renewsToken && !this.#hasRenewedToken && error.isExpiredToken) {
      this.#hasRenewedToken = true;
    } else if (!error.isTransient) {
      throw error;
    }
    const nowMs = performance.now();
    this.#beganAtMs ??= nowMs;
    const longest = Math.min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** this.#failures);
    this.#failures += 1;
    const delay = Math.max(longest * (0.5 + Math.random() / 2), error.retryDelaySeconds ?? 0);
    if (nowMs + delay * 1000 > this.#beganAtMs + this.#maxSeconds * 1000) {
      throw error;
    }
    return delay;
  }
}

/** Waits; rejects with the signal's reason if it aborts. */
export async function sleep(seconds: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, seconds * 1000);
    signal.addEventListener("abort", abort, { once: true });
  });
}
