/** The connection to the server: transport security, token, keepalive, retries, and the running calls. */

import type { DescMessage, DescMethod } from "@bufbuild/protobuf";
import { Channel, type ChannelOptions, Metadata, type ServiceConfig } from "@grpc/grpc-js";

import { ServerService } from "./gen/engagement/v1/index.js";
import { type Method, RpcCall, type StartedCall } from "./rpc-call.js";
import { isThisMachine } from "./target.js";
import { channelCredentials, type TlsOptions } from "./tls.js";
import { Tokens, type TokenSource } from "./tokens.js";

/** How to reach the server. */
export interface ConnectionOptions {
  /**
   * Transport security; by default, and with `false`, there is none: everything is sent in plain text. `true` trusts the
   * roots of Node.js (`--use-system-ca` and NODE_EXTRA_CA_CERTS apply).
   */
  readonly tls?: boolean | TlsOptions | undefined;
  /**
   * Sent with every call as `authorization: Bearer …`: a text, or a function, which is asked before a call or a stream,
   * unless its last answer is good for 30 s more, and once more after TOKEN_EXPIRED.
   */
  readonly token?: string | TokenSource | undefined;
  /** Whether the token may leave this machine in plain text, for networks that encrypt by themselves. */
  readonly allowPlaintextToken?: boolean | undefined;
  /** Deadline of a unary call in seconds, including retries and waits; 30 by default. */
  readonly timeoutSeconds?: number | undefined;
}

/** Options of a single call. */
export interface CallOptions {
  /** Cancels the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Deadline of a unary call in seconds, overriding the client's. Streams have none. */
  readonly timeoutSeconds?: number | undefined;
}

const DEFAULT_TIMEOUT_SECONDS = 30;
const MAX_RECEIVED_MESSAGE_BYTES = 16 * 1024 * 1024;
const MAX_SENT_MESSAGE_BYTES = 8 * 1024 * 1024;

// An empty name matches every method. Uploads and subscriptions resume by themselves: if the library retried them as
// well, waits of a subscription would go unnoticed.
const SERVICE_CONFIG: ServiceConfig = {
  loadBalancingConfig: [],
  methodConfig: [
    {
      name: [{ service: "" }],
      waitForReady: false,
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
    {
      name: [
        { service: "engagement.v1.IngestService", method: "UploadEvents" },
        { service: "engagement.v1.EventService", method: "SubscribeEvents" },
      ],
    },
  ],
};

const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
  "grpc.service_config_disable_resolution": 1,
  "grpc.max_receive_message_length": MAX_RECEIVED_MESSAGE_BYTES,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.dns_min_time_between_resolutions_ms": 5_000,
  // A message that does not fit is not resent, so the largest must fit.
  "grpc.per_rpc_retry_buffer_size": MAX_SENT_MESSAGE_BYTES,
  "grpc.retry_buffer_size": 8 * MAX_SENT_MESSAGE_BYTES,
  // By default the library shares connections, and their reconnect backoff, among clients.
  "grpc.use_local_subchannel_pool": 1,
};

/** A channel, and the calls that run on it. */
interface Line {
  readonly channel: Channel;
  readonly calls: Set<RpcCall>;
}

/** Channels to one server for one account: one at a time, and those that it has replaced, until their last call. */
export class Connection {
  /** Deadline of unary calls that do not set their own. */
  readonly timeoutSeconds: number;
  readonly #target: string;
  readonly #accountId: string;
  readonly #tokens: Tokens;
  readonly #isEncrypted: boolean;
  readonly #closing = new AbortController();
  readonly #retired = new Set<Line>();
  #line: Line;

  /** Connects at the first call. `target` is `HOST:PORT` or another target of gRPC. */
  constructor(target: string, options: ConnectionOptions & { readonly accountId: string }) {
    const { tls, token, allowPlaintextToken = false } = options;
    this.#isEncrypted = tls !== undefined && tls !== false;
    if (token !== undefined && !this.#isEncrypted && !allowPlaintextToken && !isThisMachine(target)) {
      throw new TypeError(
        `a token for ${target} would go over the network in plain text; set tls, or allowPlaintextToken if the network itself encrypts`,
      );
    }
    this.timeoutSeconds = options.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS;
    this.#target = target;
    this.#accountId = options.accountId;
    this.#tokens = new Tokens(token);
    this.#line = this.#connect(tls);
  }

  /** Whether there may be another token after one has expired. */
  get renewsToken(): boolean {
    return this.#tokens.isRenewable;
  }

  /** Aborts, with an AbortError, when the connection is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Starts a call. Throws the reason of an aborted signal, or an AbortError once the connection is closed. */
  open<I extends DescMessage, O extends DescMessage>(method: Method<I, O>, options: CallOptions): RpcCall<I, O> {
    options.signal?.throwIfAborted();
    this.closing.throwIfAborted();
    const timeoutSeconds = method.methodKind === "unary" ? this.timeoutOf(options) : Infinity;
    const deadlineMs = Date.now() + timeoutSeconds * 1000;
    const line = this.#line;
    const token = this.#tokens.current();
    let used: string | undefined;
    const start = (shown: string | undefined): StartedCall => {
      used = shown;
      const path = `/${method.parent.typeName}/${method.name}`;
      return {
        call: line.channel.createCall(path, deadlineMs, null, null, null),
        metadata: this.#metadata(method, shown),
      };
    };
    const call = new RpcCall<I, O>(
      token instanceof Promise ? token.then((answer) => () => start(answer)) : () => start(token),
      method,
      {
        signal: options.signal,
        deadlineMs,
        onExpiredToken: () => {
          this.#tokens.discard(used);
        },
        onEnd: () => {
          line.calls.delete(call);
          this.#closeIfRetired(line);
        },
      },
    );
    line.calls.add(call);
    return call;
  }

  /** The deadline of a unary call. */
  timeoutOf(options: CallOptions): number {
    return options.timeoutSeconds ?? this.timeoutSeconds;
  }

  /** Uses other certificates for new calls, on a channel of their own. */
  replaceTls(tls: true | TlsOptions): void {
    if (!this.#isEncrypted) {
      throw new TypeError("a client in plain text cannot change to TLS; create one with tls");
    }
    const former = this.#line;
    this.#line = this.#connect(tls);
    this.#retired.add(former);
    this.#closeIfRetired(former);
  }

  /** Cancels all calls and closes the connection. */
  close(): void {
    this.#closing.abort(new DOMException("the client is closed", "AbortError"));
    for (const { channel, calls } of [...this.#retired, this.#line]) {
      for (const call of calls) {
        call.cancel(this.closing.reason);
      }
      channel.close();
    }
  }

  #connect(tls: ConnectionOptions["tls"]): Line {
    return { channel: new Channel(this.#target, channelCredentials(tls), CHANNEL_OPTIONS), calls: new Set() };
  }

  #closeIfRetired(line: Line): void {
    if (line.calls.size === 0 && this.#retired.delete(line)) {
      line.channel.close();
    }
  }

  #metadata(method: DescMethod, token: string | undefined): Metadata {
    const metadata = new Metadata();
    if (method.parent.typeName !== ServerService.typeName) {
      metadata.set("engagement-account", this.#accountId);
    }
    if (token !== undefined) {
      metadata.set("authorization", `Bearer ${token}`);
    }
    return metadata;
  }
}
