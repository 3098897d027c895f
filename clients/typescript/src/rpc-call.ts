/**
 * One call, read one message at a time.
 *
 * It uses the channel directly, not the library's streams: those read up to 16 messages ahead of their reader, and
 * cannot send a message that is already serialized.
 */

import {
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
  type Message,
  create,
  fromBinary,
  isMessage,
} from "@bufbuild/protobuf";
import { type ChannelInterface, type Metadata, status as Code } from "@grpc/grpc-js";

import { EngagementError } from "./errors.js";
import {
  SubscribeEventsResponse_Closing_Reason,
  SubscribeEventsResponseSchema,
  UploadEventsResponse_Closing_Reason,
  UploadEventsResponseSchema,
} from "./gen/engagement/v1/index.js";
import { serialize } from "./serialize.js";
import { errorFromStatus } from "./status.js";

/** A call of the gRPC library, which does not export the type. */
export type BareCall = ReturnType<ChannelInterface["createCall"]>;

/** A method with the types of its messages. */
export type Method<I extends DescMessage, O extends DescMessage> = DescMethod & {
  readonly input: I;
  readonly output: O;
};

/** A call of the library that is about to start. */
export interface StartedCall {
  readonly call: BareCall;
  readonly metadata: Metadata;
}

/** Deadline and cancellation of a call. */
export interface RpcCallOptions {
  readonly signal: AbortSignal | undefined;
  /** When the wait for a token ends at the latest, in milliseconds since 1970. The library knows it too. */
  readonly deadlineMs: number;
  /** Called if the server says that the token of the call has expired. */
  readonly onExpiredToken: () => void;
  /** Called once, when the call has ended. */
  readonly onEnd: () => void;
}

// A longer timer would end at once.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

interface Reading<T> {
  readonly resolve: (message: T | undefined) => void;
  readonly reject: (error: unknown) => void;
  timer: NodeJS.Timeout | undefined;
}

/** A running call. Only one task at a time may read, and only one may write. */
export class RpcCall<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  /** Undefined while the call waits for a token. */
  #call: BareCall | undefined;
  #starting: Promise<void> | undefined;
  readonly #method: Method<I, O>;
  readonly #options: RpcCallOptions;
  #reading: Reading<MessageShape<O>> | undefined;
  #endWrite: (() => void) | undefined;
  #hasEnded = false;
  /** The error that reading rejects with after the last message; undefined after a status of OK. */
  #failure: { readonly error: unknown } | undefined;

  /**
   * `start` makes the call, at once or when its token is there.
   * @internal
   */
  constructor(start: (() => StartedCall) | Promise<() => StartedCall>, method: Method<I, O>, options: RpcCallOptions) {
    this.#method = method;
    this.#options = options;
    options.signal?.addEventListener("abort", this.#abort, { once: true });
    if (start instanceof Promise) {
      this.#starting = this.#startLater(start);
    } else {
      this.#start(start);
    }
  }

  /** Sends a message. Resolves when the next may be sent, or when the call has ended, which reading reports. */
  async write(message: MessageInitShape<I>): Promise<void> {
    await this.writeSerialized(serialize(this.#method.input, create(this.#method.input, message)));
  }

  /** Sends a serialized message, which must not be modified until the call has ended. */
  async writeSerialized(serialized: Uint8Array): Promise<void> {
    if (this.#starting !== undefined) {
      await this.#starting;
    }
    const call = this.#call;
    if (this.#hasEnded || call === undefined) {
      return;
    }
    await new Promise<void>((resolve) => {
      this.#endWrite = resolve;
      const bytes = Buffer.from(serialized.buffer, serialized.byteOffset, serialized.byteLength);
      const callback = (): void => {
        resolve();
      };
      call.sendMessageWithContext({ callback }, bytes);
    });
  }

  /** Declares that no message follows. */
  halfClose(): void {
    if (this.#starting !== undefined) {
      void this.#starting.then(() => {
        this.halfClose();
      });
    } else if (!this.#hasEnded) {
      this.#call?.halfClose();
    }
  }

  /**
   * The next message, or undefined after the last one.
   *
   * Rejects with an EngagementError if the call fails, which includes `silenceSeconds` without a message, or with the
   * reason of a cancellation.
   */
  async read(silenceSeconds = Infinity): Promise<MessageShape<O> | undefined> {
    if (this.#failure !== undefined) {
      throw this.#failure.error;
    }
    if (this.#hasEnded) {
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const reading: Reading<MessageShape<O>> = { resolve, reject, timer: undefined };
      if (silenceSeconds !== Infinity) {
        reading.timer = setTimeout(
          () => {
            // Lets the event loop run first: after a long pause of this thread the message may have arrived.
            setImmediate(() => {
              if (this.#reading === reading) {
                this.cancel(silence(silenceSeconds));
              }
            });
          },
          Math.min(silenceSeconds * 1000, LONGEST_TIMER_MS),
        );
      }
      this.#reading = reading;
      this.#call?.startRead();
    });
  }

  /** Ends the call unless it has ended; reading rejects with the reason. */
  cancel(reason: unknown): void {
    if (!this.#hasEnded) {
      this.#call?.cancelWithStatus(Code.CANCELLED, "cancelled by the client");
      this.#end({ error: reason });
    }
  }

  /** Iterates over the messages; leaving the loop cancels the call. */
  async *[Symbol.asyncIterator](): AsyncGenerator<MessageShape<O>, void> {
    try {
      for (let message = await this.read(); message !== undefined; message = await this.read()) {
        yield message;
      }
    } finally {
      this.cancel(new DOMException("the call is no longer read", "AbortError"));
    }
  }

  #start(start: () => StartedCall): void {
    const { call, metadata } = start();
    this.#call = call;
    call.start(metadata, {
      onReceiveMetadata: () => undefined,
      onReceiveMessage: (serialized: Uint8Array) => {
        this.#receive(serialized);
      },
      onReceiveStatus: (status) => {
        this.#end(status.code === Code.OK ? undefined : { error: errorFromStatus(status) });
      },
    });
  }

  /** Starts the call once its token is there, unless it has been cancelled; never rejects. */
  async #startLater(pending: Promise<() => StartedCall>): Promise<void> {
    const timer = setTimeout(
      () => {
        this.cancel(
          new EngagementError("no token before the deadline", { kind: "deadline", code: "DEADLINE_EXCEEDED" }),
        );
      },
      Math.min(this.#options.deadlineMs - Date.now(), LONGEST_TIMER_MS),
    );
    try {
      const start = await pending;
      if (!this.#hasEnded) {
        this.#start(start);
        if (this.#reading !== undefined) {
          this.#call?.startRead();
        }
      }
    } catch (error) {
      this.#end({ error });
    } finally {
      clearTimeout(timer);
      this.#starting = undefined;
    }
  }

  #receive(serialized: Uint8Array): void {
    if (this.#hasEnded) {
      return;
    }
    let message: MessageShape<O>;
    try {
      message = fromBinary(this.#method.output, serialized);
    } catch (error) {
      this.cancel(unreadable(error));
      return;
    }
    if (saysExpired(message)) {
      this.#options.onExpiredToken();
    }
    this.#takeReading()?.resolve(message);
  }

  #end(failure: { readonly error: unknown } | undefined): void {
    if (this.#hasEnded) {
      return;
    }
    this.#hasEnded = true;
    this.#failure = failure;
    if (failure?.error instanceof EngagementError && failure.error.isExpiredToken) {
      this.#options.onExpiredToken();
    }
    this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#options.onEnd();
    this.#endWrite?.();
    const reading = this.#takeReading();
    if (failure === undefined) {
      reading?.resolve(undefined);
    } else {
      reading?.reject(failure.error);
    }
  }

  #takeReading(): Reading<MessageShape<O>> | undefined {
    const reading = this.#reading;
    this.#reading = undefined;
    clearTimeout(reading?.timer);
    return reading;
  }

  readonly #abort = (): void => {
    this.cancel(this.#options.signal?.reason);
  };
}

/** Whether a message announces the end of its stream because the token has expired. */
function saysExpired(message: Message): boolean {
  return (
    (isMessage(message, UploadEventsResponseSchema) &&
      message.message.case === "closing" &&
      message.message.value.reason === UploadEventsResponse_Closing_Reason.UNAUTHENTICATED) ||
    (isMessage(message, SubscribeEventsResponseSchema) &&
      message.message.case === "closing" &&
      message.message.value.reason === SubscribeEventsResponse_Closing_Reason.UNAUTHENTICATED)
  );
}

function silence(seconds: number): EngagementError {
  return new EngagementError(`no message from the server for ${seconds} seconds`, {
    kind: "unavailable",
  });
}

function unreadable(cause: unknown): EngagementError {
  return new EngagementError("the response cannot be read", { kind: "internal", code: "INTERNAL", cause });
}
