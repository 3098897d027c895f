/** The example program: it stands in the README as it is, and prints what stands there. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { TestServer } from "./support/server.js";

const [, program = "", output = ""] =
  /^```ts\n(.*?)^```\n.*?^```text\n(.*?)^```/ms.exec(readPackageFile("README.md")) ?? [];
const server = await TestServer.start();

describe("the example", () => {
  after(() => server.stop());

  test("is the one in the README", () => {
    assert.equal(program, readPackageFile("examples/quickstart.ts"));
  });

  test("prints what the README says, however often it is run, and ends", { timeout: 60_000 }, async () => {
    const compiled = fileURLToPath(new URL("../examples/quickstart.js", import.meta.url));
    const env = { ...process.env, ENGAGEMENT_SERVER: server.address };
    for (let run = 1; run <= 2; run++) {
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [compiled], { env });
      assert.equal(stdout, output);
      assert.equal(stderr, "");
    }
  });
});

function readPackageFile(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}
