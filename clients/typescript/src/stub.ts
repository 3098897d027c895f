/** Makes a service of the contract callable: a method for each of its calls. */

import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescMethodBiDiStreaming,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";

import type { CallOptions, Connection } from "./connection.js";
import { EngagementError } from "./errors.js";
import { sleep } from "./outage.js";
import type { Method, RpcCall } from "./rpc-call.js";
import { serialize } from "./serialize.js";

const MIN_QUOTA_WAIT_SECONDS = 0.1;

/**
 * The calls of a service, named as in the contract. A unary call takes a message, or a plain object with its fields,
 * and rejects with an EngagementError; a stream is an RpcCall.
 */
export type Stub<S extends DescService> = {
  readonly [Name in keyof S["method"]]: StubMethod<S["method"][Name]>;
};

type StubMethod<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => RpcCall<I, O>
      : M extends DescMethodBiDiStreaming<infer I, infer O>
        ? (options?: CallOptions) => RpcCall<I, O>
        : never;

/** The stub of a service over a connection. */
export function createStub<S extends DescService>(service: S, connection: Connection): Stub<S> {
  const stub: Record<string, unknown> = {};
  for (const method of service.methods) {
    stub[method.localName] = stubMethod(method, connection);
  }
  return stub as Stub<S>;
}

function stubMethod(method: DescMethod, connection: Connection): unknown {
  switch (method.methodKind) {
    case "unary":
      return (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        callUnary(connection, method, request, options);
    case "server_streaming":
      return (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        callServerStreaming(connection, method, request, options);
    case "client_streaming":
    case "bidi_streaming":
      return (options: CallOptions = {}) => connection.open(method, options);
  }
}

/** Makes a call within its deadline, and repeats it after TOKEN_EXPIRED, once, and as quotas ask. */
async function callUnary<I extends DescMessage, O extends DescMessage>(
  connection: Connection,
  method: Method<I, O>,
  request: MessageInitShape<I>,
  options: CallOptions,
): Promise<MessageShape<O>> {
  const serialized = serialize(method.input, create(method.input, request));
  const deadlineMs = performance.now() + connection.timeoutOf(options) * 1000;
  let hasRenewedToken = false;
  for (;;) {
    const timeoutSeconds = Math.max(0, (deadlineMs - performance.now()) / 1000);
    try {
      return await response(send(connection, method, serialized, { ...options, timeoutSeconds }));
    } catch (error) {
      if (!(error instanceof EngagementError)) {
        throw error;
      }
      if (error.isExpiredToken && connection.renewsToken && !hasRenewedToken) {
        hasRenewedToken = true;
        continue;
      }
      const waitSeconds = quotaWaitSeconds(error);
      if (waitSeconds === undefined || performance.now() + waitSeconds * 1000 > deadlineMs) {
        throw error;
      }
      const { signal } = options;
      await sleep(
        waitSeconds,
        signal === undefined ? connection.closing : AbortSignal.any([connection.closing, signal]),
      );
    }
  }
}

/** How long to wait for a quota; undefined if the call failed for another reason, or waiting does not help. */
function quotaWaitSeconds({ kind, retryDelaySeconds }: EngagementError): number | undefined {
  return kind === "quota_exceeded" && retryDelaySeconds !== undefined
    ? Math.max(retryDelaySeconds, MIN_QUOTA_WAIT_SECONDS)
    : undefined;
}

async function response<I extends DescMessage, O extends DescMessage>(call: RpcCall<I, O>): Promise<MessageShape<O>> {
  const message = await call.read();
  // The status follows the response, and takes precedence over it.
  await call.read();
  if (message === undefined) {
    throw new EngagementError("the call ended without a response", { kind: "internal", code: "INTERNAL" });
  }
  return message;
}

function callServerStreaming<I extends DescMessage, O extends DescMessage>(
  connection: Connection,
  method: Method<I, O>,
  request: MessageInitShape<I>,
  options: CallOptions,
): RpcCall<I, O> {
  // Before the call starts: if the message cannot be serialized, no call must be left behind.
  return send(connection, method, serialize(method.input, create(method.input, request)), options);
}

function send<I extends DescMessage, O extends DescMessage>(
  connection: Connection,
  method: Method<I, O>,
  serialized: Uint8Array,
  options: CallOptions,
): RpcCall<I, O> {
  const call = connection.open(method, options);
  void call.writeSerialized(serialized);
  call.halfClose();
  return call;
}
