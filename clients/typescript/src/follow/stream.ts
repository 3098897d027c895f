/** One connection of a follower: reads the server's messages, and distinguishes its end from a loss. */

import { durationMs } from "@bufbuild/protobuf/wkt";

import { EngagementError } from "../errors.js";
import type {
  SubscribeEventsRequestSchema,
  SubscribeEventsResponse,
  SubscribeEventsResponseSchema,
} from "../gen/engagement/v1/index.js";
import type { RpcCall } from "../rpc-call.js";

/** The running call of a subscription. */
export type SubscribeCall = RpcCall<typeof SubscribeEventsRequestSchema, typeof SubscribeEventsResponseSchema>;

/** One stream of SubscribeEvents. It is read one message at a time, never ahead of its reader. */
export class FollowStream {
  readonly #call: SubscribeCall;
  readonly #stopsAtTail: boolean;
  #silenceSeconds: number;
  #reconnectDelaySeconds: number | undefined;
  #isClosing = false;

  /** `silenceSeconds` is how long the server may take to accept the subscription. */
  constructor(call: SubscribeCall, stopsAtTail: boolean, silenceSeconds: number) {
    this.#call = call;
    this.#stopsAtTail = stopsAtTail;
    this.#silenceSeconds = silenceSeconds;
  }

  /**
   * The next message or, if the stream was to stop at the tail, undefined after the last one.
   *
   * Rejects with an EngagementError, which is `unavailable` if the server closes the stream or is silent for two of
   * its intervals.
   */
  async read(): Promise<SubscribeEventsResponse | undefined> {
    const response = await this.#call.read(this.#silenceSeconds);
    if (response === undefined) {
      if (this.#stopsAtTail && !this.#isClosing) {
        return undefined;
      }
      throw new EngagementError("the server closed the stream", {
        kind: "unavailable",
        retryDelaySeconds: this.#reconnectDelaySeconds,
      });
    }
    const { message } = response;
    if (message.case === "started" && message.value.heartbeatInterval !== undefined) {
      this.#silenceSeconds = (2 * durationMs(message.value.heartbeatInterval)) / 1000 || this.#silenceSeconds;
    } else if (message.case === "closing") {
      this.#isClosing = true;
      this.#reconnectDelaySeconds = message.value.reconnectDelay && durationMs(message.value.reconnectDelay) / 1000;
    }
    return response;
  }

  /** Ends the call; the server stops sending. */
  close(): void {
    this.#call.cancel(new DOMException("the follower needs the call no longer", "AbortError"));
  }
}
