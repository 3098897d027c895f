/** A server for what a real one does not do when it is asked to: statuses of all kinds, failures in a row. */

import { promisify } from "node:util";

import { type Metadata, type sendUnaryData, Server, ServerCredentials, type UntypedHandleCall } from "@grpc/grpc-js";

/** A unary call as it arrived. */
export interface BareRequest {
  readonly request: Buffer;
  readonly metadata: Metadata;
}

/** Answers one method of IngestService, in bytes. */
export class StandIn {
  readonly #server: Server;
  readonly address: string;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.address = `127.0.0.1:${port}`;
  }

  /** Starts one on a free port. */
  static async start(
    method: string,
    answer: (call: BareRequest, callback: sendUnaryData<Buffer>) => void,
  ): Promise<StandIn> {
    const server = new Server({ "grpc.max_receive_message_length": -1 });
    const asIs = (bytes: Buffer): Buffer => bytes;
    const definition = {
      path: `/engagement.v1.IngestService/${method}`,
      requestStream: false,
      responseStream: false,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
    server.addService({ [method]: definition }, { [method]: answer as UntypedHandleCall });
    const bind = promisify(server.bindAsync.bind(server));
    return new StandIn(server, await bind("127.0.0.1:0", ServerCredentials.createInsecure()));
  }

  [Symbol.dispose](): void {
    this.#server.forceShutdown();
  }
}
