/**
 * One call, read a message at a time.
 *
 * It stands on the channel itself and not on the library's streams: those read up to 16 messages ahead of
 * their reader, and know no message that is serialized already.
 */

import {
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
  create,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";
import { type ChannelInterface, type Metadata, status as Code } from "@grpc/grpc-js";

import { EngagementError } from "./errors.js";
import { errorFromStatus } from "./status.js";

/** A call of the gRPC library, which does not export the type. */
export type BareCall = ReturnType<ChannelInterface["createCall"]>;

/** A method with the types of its messages. */
export type Method<I extends DescMessage, O extends DescMessage> = DescMethod & {
  readonly input: I;
  readonly output: O;
};

/** How a call is made and ended. */
export interface RpcCallOptions {
  readonly metadata: Metadata;
  readonly signal: AbortSignal | undefined;
  /** Is called once, when nothing more can come or go. */
  readonly onEnd: () => void;
}

// A longer timer would end at once.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

interface Reading<T> {
  readonly resolve: (message: T | undefined) => void;
  readonly reject: (error: unknown) => void;
  timer: NodeJS.Timeout | undefined;
}

/** A running call. One task at a time may read, and one may write. */
export class RpcCall<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly #call: BareCall;
  readonly #method: Method<I, O>;
  readonly #options: RpcCallOptions;
  #reading: Reading<MessageShape<O>> | undefined;
  #endWrite: (() => void) | undefined;
  #hasEnded = false;
  /** What reading rejects with behind the last message; nothing after a status of OK. */
  #failure: { readonly error: unknown } | undefined;

  /** @internal */
  constructor(call: BareCall, method: Method<I, O>, options: RpcCallOptions) {
    this.#call = call;
    this.#method = method;
    this.#options = options;
    options.signal?.addEventListener("abort", this.#abort, { once: true });
    call.start(options.metadata, {
      onReceiveMetadata: () => undefined,
      onReceiveMessage: (serialized: Uint8Array) => {
        this.#receive(serialized);
      },
      onReceiveStatus: (status) => {
        this.#end(status.code === Code.OK ? undefined : { error: errorFromStatus(status) });
      },
    });
  }

  /** Sends a message. Resolves when the next may be sent, and when the call has ended, which reading tells. */
  async write(message: MessageInitShape<I>): Promise<void> {
    await this.writeSerialized(toBinary(this.#method.input, create(this.#method.input, message)));
  }

  /** The same for a message that is serialized already. It must stay as it is until the call has ended. */
  async writeSerialized(serialized: Uint8Array): Promise<void> {
    if (this.#hasEnded) {
      return;
    }
    await new Promise<void>((resolve) => {
      this.#endWrite = resolve;
      const bytes = Buffer.from(serialized.buffer, serialized.byteOffset, serialized.byteLength);
      const callback = (): void => {
        resolve();
      };
      this.#call.sendMessageWithContext({ callback }, bytes);
    });
  }

  /** No message follows. */
  halfClose(): void {
    if (!this.#hasEnded) {
      this.#call.halfClose();
    }
  }

  /**
   * The next message, or undefined behind the last one.
   *
   * Rejects with an EngagementError where the call fails, which includes `silenceSeconds` without a message,
   * and with the reason of a cancellation.
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
            // A turn of the loop first: after a long pause of this thread the message may be here already.
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
      this.#call.startRead();
    });
  }

  /** Ends the call, unless it has ended; reading rejects with the reason. */
  cancel(reason: unknown): void {
    if (!this.#hasEnded) {
      this.#call.cancelWithStatus(Code.CANCELLED, "cancelled by the client");
      this.#end({ error: reason });
    }
  }

  /** The messages to the end; leaving the loop cancels the call. */
  async *[Symbol.asyncIterator](): AsyncGenerator<MessageShape<O>, void> {
    try {
      for (let message = await this.read(); message !== undefined; message = await this.read()) {
        yield message;
      }
    } finally {
      this.cancel(new DOMException("nobody reads the call any longer", "AbortError"));
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
    this.#takeReading()?.resolve(message);
  }

  #end(failure: { readonly error: unknown } | undefined): void {
    if (this.#hasEnded) {
      return;
    }
    this.#hasEnded = true;
    this.#failure = failure;
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

function silence(seconds: number): EngagementError {
  return new EngagementError(`no message from the server for ${seconds} seconds`, {
    kind: "unavailable",
  });
}

function unreadable(cause: unknown): EngagementError {
  return new EngagementError("the response cannot be read", { kind: "internal", code: "INTERNAL", cause });
}
