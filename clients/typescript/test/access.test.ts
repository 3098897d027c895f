/** Tokens and certificates, beyond the shared conversations. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { EngagementClient, type TokenAnswer } from "@engagement-attributes/client";

import { rejectsWithKind } from "./support/expectations.js";
import { TestServer } from "./support/server.js";
import { readCases } from "./support/vectors.js";

interface Target {
  readonly name: string;
  readonly is_this_machine: boolean;
}

const options = { timeout: 30_000 };
const accountId = "access";

describe("tokens and certificates", () => {
  for (const { name, is_this_machine } of readCases("targets.json") as readonly Target[]) {
    test(`a token for ${name} leaves this machine in plain text only if that is allowed`, options, () => {
      const create = (more: object): void => {
        using client = new EngagementClient(name, { accountId, token: "secret", ...more });
        assert.equal(client.accountId, accountId);
      };
      if (!is_this_machine) {
        assert.throws(() => {
          create({});
        }, /in plain text/);
      }
      create(is_this_machine ? {} : { allowPlaintextToken: true });
      create({ tls: true });
    });
  }

  test("calls at once wait for one answer", options, async () => {
    const server = await TestServer.start();
    let asks = 0;
    let answer: (token: TokenAnswer) => void = () => undefined;
    const answered = new Promise<TokenAnswer>((resolve) => {
      answer = resolve;
    });
    using client = new EngagementClient(server.address, {
      accountId,
      token: async () => {
        asks += 1;
        return answered;
      },
    });
    const calls = [1, 2, 3].map(async () => client.server.getServerInfo({}));
    answer("secret");
    await Promise.all(calls);
    assert.equal(asks, 1);
    await server.stop();
  });

  test("a failure of the function is that of the call, the upload and the follower", options, async () => {
    const reason = new Error("the vault is closed");
    using client = new EngagementClient("127.0.0.1:1", {
      accountId,
      token: () => {
        throw reason;
      },
    });
    await assert.rejects(client.server.getServerInfo({}), reason);
    await assert.rejects(client.upload([]), reason);
    await assert.rejects(client.follow({ earliest: true })[Symbol.asyncIterator]().next(), reason);
  });

  test("waiting for a token counts towards the deadline, and can be cancelled", options, async () => {
    using client = new EngagementClient("127.0.0.1:1", { accountId, token: () => new Promise(() => undefined) });
    await rejectsWithKind(client.server.getServerInfo({}, { timeoutSeconds: 0.05 }), "deadline");
    const reason = new Error("enough");
    const cancelling = new AbortController();
    const call = client.server.getServerInfo({}, { signal: cancelling.signal });
    cancelling.abort(reason);
    await assert.rejects(call, reason);
  });

  test("a certificate needs its key, and a client in plain text gets none", options, () => {
    assert.throws(() => new EngagementClient("localhost:1", { accountId, tls: { certificate: "pem" } }), /both/);
    using client = new EngagementClient("localhost:1", { accountId });
    assert.throws(() => {
      client.replaceTls(true);
    }, /in plain text/);
  });
});
