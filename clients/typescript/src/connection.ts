/** The connection to the server: transport security, token, keepalive, retries, and the running calls. */

import type { DescMessage } from "@bufbuild/protobuf";
import {
  Channel,
  type ChannelCredentials,
  type ChannelOptions,
  credentials,
  Metadata,
  type ServiceConfig,
} from "@grpc/grpc-js";

import { type Method, RpcCall } from "./rpc-call.js";

/** How to reach the server. */
export interface ConnectionOptions {
  /**
   * Transport security; by default, and with `false`, there is none: everything, including the token, is sent in
   * plain text. `true` trusts the roots of Node.js (`--use-system-ca` and NODE_EXTRA_CA_CERTS apply), `ca` the
   * certificates that it holds as PEM.
   */
  readonly tls?: boolean | { readonly ca: string | Uint8Array } | undefined;
  /** Sent with every call as `authorization: Bearer …`. */
  readonly token?: string | undefined;
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

/** One channel to one server. */
export class Connection {
  /** Deadline of unary calls that do not set their own. */
  readonly timeoutSeconds: number;
  readonly #channel: Channel;
  readonly #metadata = new Metadata();
  readonly #calls = new Set<RpcCall>();
  readonly #closing = new AbortController();

  /** Connects at the first call. `target` is `HOST:PORT` or another target of gRPC. */
  constructor(target: string, options: ConnectionOptions) {
    this.timeoutSeconds = options.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS;
    if (options.token !== undefined) {
      this.#metadata.set("authorization", `Bearer ${options.token}`);
    }
    this.#channel = new Channel(target, channelCredentials(options.tls), CHANNEL_OPTIONS);
  }

  /** Aborts, with an AbortError, when the connection is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Starts a call. Throws the reason of an aborted signal, or an AbortError once the connection is closed. */
  open<I extends DescMessage, O extends DescMessage>(method: Method<I, O>, options: CallOptions): RpcCall<I, O> {
    options.signal?.throwIfAborted();
    this.closing.throwIfAborted();
    const path = `/${method.parent.typeName}/${method.name}`;
    const timeoutSeconds = method.methodKind === "unary" ? (options.timeoutSeconds ?? this.timeoutSeconds) : Infinity;
    const bareCall = this.#channel.createCall(path, Date.now() + timeoutSeconds * 1000, null, null, null);
    const call = new RpcCall<I, O>(bareCall, method, {
      metadata: this.#metadata,
      signal: options.signal,
      onEnd: () => {
        this.#calls.delete(call);
      },
    });
    this.#calls.add(call);
    return call;
  }

  /** Cancels all calls and closes the connection. */
  close(): void {
    this.#closing.abort(new DOMException("the client is closed", "AbortError"));
    for (const call of this.#calls) {
      call.cancel(this.closing.reason);
    }
    this.#channel.close();
  }
}

function channelCredentials(tls: ConnectionOptions["tls"]): ChannelCredentials {
  if (tls === undefined || tls === false) {
    return credentials.createInsecure();
  }
  return credentials.createSsl(tls === true ? null : Buffer.from(tls.ca));
}
