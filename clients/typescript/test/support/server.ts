/** Real servers for tests, each a process of its own. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { type ClientOptions, EngagementClient, uuid7 } from "@engagement-attributes/client";

/** Root of the repository. */
export const ROOT = fileURLToPath(new URL("../../../../../", import.meta.url));
const PYTHON = process.env.ENGAGEMENT_PYTHON ?? join(ROOT, ".venv/bin/python");

/** A process that says on its first line where it listens. */
export interface Listening {
  readonly process: ChildProcess;
  readonly firstLine: string;
}

/** Starts a module of Python in the root of the repository, and waits for its first line. */
export async function startPython(...args: readonly string[]): Promise<Listening> {
  const child = spawn(PYTHON, ["-m", ...args], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = await lines.next();
  if (line.done) {
    throw new Error(`python -m ${args.join(" ")} ended: ${log}`);
  }
  return { process: child, firstLine: line.value };
}

/** Ends a process that the test started, and waits until it is gone. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }
}

/** The server of the project, with data of its own. */
export class TestServer {
  readonly #dataDir: string;
  #listening: Listening;

  private constructor(dataDir: string, listening: Listening) {
    this.#dataDir = dataDir;
    this.#listening = listening;
  }

  /** Starts one on a free port. */
  static async start(): Promise<TestServer> {
    const dataDir = await mkdtemp(join(tmpdir(), "typescript-client-"));
    return new TestServer(dataDir, await serve("127.0.0.1:0", dataDir));
  }

  /** Where it listens, as HOST:PORT. */
  get address(): string {
    return this.#listening.firstLine.replace("listening on ", "");
  }

  /** A client of it, with an account of its own where none is given. */
  connect(options?: Partial<ClientOptions>): EngagementClient {
    return new EngagementClient(this.address, { accountId: uuid7(), ...options });
  }

  /** Kills it as a crash would, and starts it again on the same port with the same data. */
  async crashAndRestart(): Promise<void> {
    const { address } = this;
    await end(this.#listening.process, "SIGKILL");
    this.#listening = await serve(address, this.#dataDir);
  }

  /** Stops it for good and removes its data. */
  async stop(): Promise<void> {
    await end(this.#listening.process, "SIGTERM");
    await rm(this.#dataDir, { recursive: true, force: true });
  }
}

async function serve(listen: string, dataDir: string): Promise<Listening> {
  return startPython("engagement.cli", "serve", "--listen", listen, "--data", dataDir);
}
