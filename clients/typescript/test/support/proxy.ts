/** A connection that a test can watch and break. */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** Passes bytes between clients and a server. */
export class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #receivedBytes = 0;

  private constructor(target: string) {
    const [host, port] = target.split(":");
    this.#server = createServer((client) => {
      const server = connect(Number(port), host);
      server.on("data", (data) => {
        this.#receivedBytes += data.length;
      });
      client.pipe(server).pipe(client);
      client.on("error", () => server.destroy());
      server.on("error", () => client.destroy());
      this.#sockets.add(client).add(server);
    });
  }

  /** Starts one before a server. */
  static async start(target: string): Promise<Proxy> {
    const proxy = new Proxy(target);
    await once(proxy.#server.listen(0, "127.0.0.1"), "listening");
    return proxy;
  }

  /** Where it listens, as HOST:PORT. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many bytes came from the server. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Passes nothing any longer over the connections that there are, and does not end them either. */
  silence(): void {
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  [Symbol.dispose](): void {
    this.#server.close();
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }
}
