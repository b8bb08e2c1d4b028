import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { jsonOf, runFarebox } from "../admin/run-farebox.ts";
import { built } from "../support/built.ts";
import { lastingPort } from "../support/lasting-port.ts";
import { startModelUpstream } from "../support/model-upstream.ts";
import { type Child, startChild } from "./child-gateway.ts";

let directory: string;
let env: Record<string, string>;
let children: Child[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-local-"));
  const [port, rpc, facilitator] = await Promise.all([lastingPort(), lastingPort(), lastingPort()]);
  env = {
    PORT: String(port),
    LOCALNET_RPC_PORT: String(rpc),
    LOCALNET_FACILITATOR_PORT: String(facilitator),
  };
  children = [];
});
afterEach(async () => {
  for (const child of children) await child.stop();
  await rm(directory, { recursive: true, force: true });
});

function start(extra: Record<string, string> = {}): Child {
  const child = startChild("server/main.js", { cwd: directory, env: { ...env, ...extra } });
  children.push(child);
  return child;
}

/** A command of the banner, in another terminal. */
function pay(command: string): Child {
  const args = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? "");
  const child = startChild("client/pay.js", { cwd: directory, env: {}, args });
  children.push(child);
  return child;
}

test("without configuration: a banner that says no real money moves, a wallet pays, a restart remembers, SIGTERM ends with 0", async () => {
  const url = `http://127.0.0.1:${env["PORT"]}`;
  const child = start();
  await child.says('"listening"');
  await child.says("npm run --silent pay");
  expect(child.output()).toContain("NO REAL MONEY MOVES");
  for (const shown of [
    url,
    `http://127.0.0.1:${env["LOCALNET_RPC_PORT"]}`,
    `:${env["LOCALNET_FACILITATOR_PORT"]}`,
  ]) {
    expect(child.output()).toContain(shown);
  }
  const [call = "", topUp = ""] = [...child.output().matchAll(/npm run --silent pay -- (.*)/g)].map(
    ([, command]) => command,
  );
  expect(call).toContain(`${url}/agent -d '{"prompt":"Hello"}'`);
  const paying = pay(call);
  expect(await paying.exit).toBe(0);
  expect(paying.output()).toMatch(/"success":true/);
  expect(paying.output()).toContain("play money");
  const { receivedBy } = await transferOf(paying.output());
  expect(receivedBy).toBe(/merchant +(\w+)/.exec(child.output())?.[1]);

  expect(topUp).toContain(`${url}/topup -X POST --asset PLAY --max-amount 100`);
  const toppingUp = pay(topUp);
  expect(await toppingUp.exit).toBe(0);
  expect(toppingUp.output()).toContain("paying 84.210526316 PLAY from ");
  expect(toppingUp.output()).toContain('"balance":"1.00"');

  const secret = await readFile(join(directory, ".farebox/memo-secret"), "utf8");
  const sessionKey = await readFile(join(directory, ".farebox/session-key"), "utf8");
  expect(sessionKey).not.toBe(secret);
  expect((await fetch(`${url}/account`)).status).toBe(401);
  child.kill("SIGTERM");
  expect(await child.exit).toBe(0);

  const again = start();
  await again.says('"listening"');
  expect(await readFile(join(directory, ".farebox/memo-secret"), "utf8")).toBe(secret);
  expect(await readFile(join(directory, ".farebox/session-key"), "utf8")).toBe(sessionKey);
  expect(await transferOf(paying.output())).toEqual({ receivedBy });
  again.kill("SIGINT");
  expect(await again.exit).toBe(0);
});

describe("npm start", () => {
  let npm: ChildProcess;
  let lines: AsyncIterator<string>;
  beforeEach(() => {
    // As an operator's supervisor sees it: it knows the process of npm alone.
    const child = spawn("npm", ["start", "--ignore-scripts"], {
      cwd: dirname(built("")),
      env: { PATH: process.env["PATH"], ...env, FAREBOX_DATA_DIR: directory },
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
    });
    npm = child;
    lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  });
  afterEach(() => killGroup(npm.pid));

  async function says(text: string): Promise<void> {
    for (;;) {
      const { value = "", done } = await lines.next();
      if (done === true) throw new Error(`ended without saying ${text}`);
      if (value.includes(text)) return;
    }
  }

  test("ends when npm is told to, and with it the server, with 0", async () => {
    await says('"listening"');
    const exit = once(npm, "exit");
    npm.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
    await expect(fetch(`http://127.0.0.1:${env["PORT"]}/healthz`)).rejects.toThrow();
  });

  test("goes on draining when the signal comes twice, as from a terminal and from npm", async () => {
    await says('"listening"');
    const unfinished = request({
      port: env["PORT"],
      // Its price is in the body, so it is answered after that.
      path: "/topup",
      method: "POST",
      headers: { expect: "100-continue", "content-length": 2 },
    });
    const answered = once(unfinished, "response");
    unfinished.flushHeaders();
    await once(unfinished, "continue");
    const exit = once(npm, "exit");
    npm.kill("SIGINT");
    await says('"draining');
    npm.kill("SIGINT");
    await says('"signal again');
    unfinished.end("{}");
    const [answer] = await answered;
    answer.resume();
    expect(answer.statusCode).toBe(402);
    expect(await exit).toEqual([0, null]);
  });
});

/** Whoever of the group is left, which should be nobody. */
function killGroup(leader: number | undefined): void {
  try {
    process.kill(-(leader ?? Number.NaN), "SIGKILL");
  } catch {
    // It ended as it should.
  }
}

test("what the command line seals, without a master key in the environment, the gateway opens", async () => {
  const upstream = await startModelUpstream();
  try {
    const both = { ...env, UPSTREAM_URL: `${upstream.url}/v1`, UPSTREAM_API_KEY: "sk-operator" };
    const farebox = async (args: readonly string[], stdin = "") =>
      jsonOf(await runFarebox([...args, "--json"], { cwd: directory, env: both, stdin }));
    // Before the gateway was ever started, and beside it.
    for (const account of ["early", "late"]) {
      if (account === "late") await start(both).says('"listening"');
      await farebox(["accounts", "create", "--id", account]);
      await farebox(["credit", account, "1.00", "--reference", "r"]);
      await farebox(["provider-keys", "set", account, "default"], `sk-own-key-of-${account}`);
    }
    for (const account of ["early", "late"]) {
      const { key } = await farebox(["keys", "create", "--account", account]);
      const answer = await fetch(`http://127.0.0.1:${env["PORT"]}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${String(key)}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "gpt-oss:20b", messages: [{ role: "user", content: "Hello" }] }),
      });
      expect(answer.status).toBe(200);
      await answer.text();
      expect(upstream.calls.at(-1)?.headers.authorization).toBe(`Bearer sk-own-key-of-${account}`);
    }
  } finally {
    await upstream.close();
  }
});

/** Asks the embedded chain's RPC who received USDC in the transaction that `pay` printed. */
async function transferOf(output: string): Promise<{ receivedBy: string | undefined }> {
  const transaction = /transaction (\w{64,90})/.exec(output)?.[1];
  const config = { encoding: "base64", commitment: "confirmed", maxSupportedTransactionVersion: 0 };
  const response = await fetch(`http://127.0.0.1:${env["LOCALNET_RPC_PORT"]}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "getTransaction", params: [transaction, config] }),
  });
  const { result } = (await response.json()) as {
    result: { meta: Record<"preTokenBalances" | "postTokenBalances", Balance[]> } | null;
  };
  const before = new Map(result?.meta.preTokenBalances.map((each) => [each.owner, amountOf(each)]));
  const richer = result?.meta.postTokenBalances.find(
    (each) => amountOf(each) - (before.get(each.owner) ?? 0n) === 20_000n,
  );
  return { receivedBy: richer?.owner };
}

interface Balance {
  readonly owner: string;
  readonly uiTokenAmount: { readonly amount: string };
}

function amountOf(balance: Balance): bigint {
  return BigInt(balance.uiTokenAmount.amount);
}

describe("refuses to start, with exit code 2 and the setting's name", () => {
  test.each([
    ["a host that others reach", { HOST: "0.0.0.0" }, "HOST: local mode"],
    ["NODE_ENV=production without a network", { NODE_ENV: "production" }, "network: NODE_ENV is production"],
  ])("%s", async (_name, wrong, message) => {
    const child = start(wrong);
    expect(await child.exit).toBe(2);
    expect(child.output()).toContain(message);
  });
});

test("NODE_ENV=production with network: local asked for by name starts; ports that are taken are named, with exit code 1", async () => {
  const child = start({ NODE_ENV: "production", NETWORK: "local" });
  await child.says('"listening"');
  const others = { LOCALNET_RPC_PORT: "0", LOCALNET_FACILITATOR_PORT: "0", FAREBOX_DATA_DIR: "other" };
  const rows = [
    [{}, "LOCALNET_RPC_PORT"],
    [others, "PORT"],
  ] as const;
  for (const [extra, variable] of rows) {
    const second = start(extra);
    expect(await second.exit).toBe(1);
    const port = env[variable];
    expect(second.output()).toContain(`Port ${port} on 127.0.0.1 is in use. Set ${variable} to a free one.`);
  }
  expect((await fetch(`http://127.0.0.1:${env["PORT"]}/healthz`)).status).toBe(200);
});
