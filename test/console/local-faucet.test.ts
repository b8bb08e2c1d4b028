import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { loadConfig } from "../../server/load-config.ts";
import { type LocalMode, startLocalMode } from "../../server/local-mode.ts";
import { createLogger } from "../../server/log.ts";
import { type RunningGateway, startGateway } from "../../server/start.ts";
import { type Gate, gateAt, newWallet, refusal, SESSION_KEY } from "../account/account-world.ts";
import { post } from "../support/buyer.ts";
import { lastingPort } from "../support/lasting-port.ts";
import { keepLines } from "../support/log-lines.ts";
import { openShop } from "../support/shop.ts";

const PATH = "/console/local/faucet";
/** Nothing can be moved to it. */
const SYSTEM_PROGRAM = "11111111111111111111111111111111";

let directory: string;
let local: LocalMode;
let gateway: RunningGateway;
let gate: Gate;
let origin: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-console-local-"));
  const env = {
    ...{ NETWORK: "local", PORT: String(await lastingPort()), FAREBOX_DATA_DIR: directory },
    ...{ LOCALNET_RPC_PORT: "0", LOCALNET_FACILITATOR_PORT: "0" },
  };
  const loaded = loadConfig({ env, cwd: directory });
  if ("problems" in loaded) throw new Error(JSON.stringify(loaded.problems));
  local = await startLocalMode(loaded.config);
  const log = createLogger({ level: "info", destination: keepLines().destination });
  gateway = await startGateway({
    ...{ config: local.config, log },
    onFatal: (error) => {
      throw error;
    },
  });
  gate = gateAt(gateway.url, local.config);
  origin = new URL(local.config.publicUrl).origin;
});
afterAll(async () => {
  await gateway.close();
  await local.close();
  await rm(directory, { recursive: true, force: true });
});

let address: string;
beforeEach(async () => {
  ({ address } = await newWallet());
});

function ask(body: unknown, headers: Record<string, string> = { origin }) {
  return gate.call("POST", PATH, { body, headers });
}

/** What the chain says that a wallet has; undefined: no account. */
async function balance(owner: string): Promise<string | undefined> {
  const response = await fetch(
    local.config.rpcUrls[0] ?? "",
    post({
      ...{ jsonrpc: "2.0", id: 1, method: "getTokenAccountsByOwner" },
      params: [owner, { mint: local.config.asset }, { encoding: "jsonParsed" }],
    }),
  );
  const { result } = (await response.json()) as {
    result: { value: { account: { data: { parsed: { info: { tokenAmount: { amount: string } } } } } }[] };
  };
  return result.value[0]?.account.data.parsed.info.tokenAmount.amount;
}

test("the page gets play money for a wallet of its own, and buys a call with it", async () => {
  const wallet = await newWallet();
  const reply = await ask({ address: wallet.address, usdc: "5.00" });
  expect([reply.status, reply.json]).toEqual([
    200,
    { address: wallet.address, usdc: "5.00", balance: "5.00", signature: expect.any(String) },
  ]);
  expect(reply.headers.get("cache-control")).toBe("no-store");
  expect(await balance(wallet.address)).toBe("5000000");
  const scheme = new ExactSvmScheme(wallet, { rpcUrl: local.config.rpcUrls[0] ?? "" });
  const pay = wrapFetchWithPayment(fetch, new x402Client().register("solana:*", scheme));
  const paid = await pay(`${gateway.url}/agent`, post({ prompt: "Hello" }));
  await paid.text();
  expect(paid.status).toBe(200);
  expect((await gate.call("GET", "/console/config.json")).json).toMatchObject({
    local: true,
    explorer: null,
  });
});

test.each<[string, (ours: string) => Record<string, string>]>([
  ["another site", () => ({ origin: "https://evil.example" })],
  ["another port of this machine", () => ({ origin: "http://127.0.0.1:1" })],
  ["another name of this machine", (ours) => ({ origin: ours.replace("127.0.0.1", "localhost") })],
  ["a sandboxed page", () => ({ origin: "null" })],
  ["nobody knows where", () => ({})],
  ["a Referer alone", (ours) => ({ referer: `${ours}/console` })],
])("from %s nothing is given", async (_, headers) => {
  const reply = await ask({ address, usdc: "5.00" }, headers(origin));
  expect(refusal(reply)).toEqual([403, "csrf_refused", "origin"]);
  expect(reply.headers.get("access-control-allow-origin")).toBeNull();
  expect(await balance(address)).toBeUndefined();
});

test.each<[string, (address: string) => unknown, field: string]>([
  ["too much", (owner) => ({ address: owner, usdc: "1000.000001" }), "usdc"],
  ["nothing", (owner) => ({ address: owner, usdc: "0" }), "usdc"],
  ["less than nothing", (owner) => ({ address: owner, usdc: "-1" }), "usdc"],
  ["more decimals than USDC has", (owner) => ({ address: owner, usdc: "1.0000001" }), "usdc"],
  ["a number", (owner) => ({ address: owner, usdc: 5 }), "usdc"],
  ["an amount of another form", (owner) => ({ address: owner, usdc: "5e2" }), "usdc"],
  ["no amount", (owner) => ({ address: owner }), "usdc"],
  ["no address", () => ({ usdc: "5" }), "address"],
  ["a wrong address", () => ({ address: "0x5", usdc: "5" }), "address"],
  ["a field more", (owner) => ({ address: owner, usdc: "5", again: true }), '"again"'],
  ["a list", (owner) => [{ address: owner, usdc: "5" }], "body"],
])("%s is refused", async (_, body, field) => {
  const reply = await ask(body(address));
  expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
  expect(reply.json).toMatchObject({ error: { message: expect.stringMatching(new RegExp(`^${field}: `)) } });
  expect(await balance(address)).toBeUndefined();
});

test("an address that can hold nothing, no JSON, and a long body are the caller's faults", async () => {
  const program = await ask({ address: SYSTEM_PROGRAM, usdc: "5" });
  const broken = await ask("{");
  const form = await ask("address=x", { origin, "content-type": "application/x-www-form-urlencoded" });
  const long = await ask({ address, usdc: "5".repeat(2_000) });
  expect([program, broken, form, long].map((reply) => refusal(reply).slice(0, 2))).toEqual([
    [400, "invalid_request"],
    [400, "invalid_json"],
    [400, "invalid_request"],
    [413, "body_too_large"],
  ]);
});

test("the most that is given is 1000", async () => {
  expect((await ask({ address, usdc: "1000" })).json).toMatchObject({ balance: "1000.00" });
});

test("only POST, and only there", async () => {
  const replies = [
    await gate.call("GET", PATH),
    await gate.call("PUT", PATH, { body: {}, headers: { origin } }),
    await gate.call("POST", `${PATH}/more`, { body: { address, usdc: "5" }, headers: { origin } }),
  ];
  expect(replies.map((reply) => refusal(reply)[0])).toEqual([404, 404, 404]);
  expect(await balance(address)).toBeUndefined();
});

test("on a network with real money there is no faucet, whatever stands behind the facilitator's URL", async () => {
  const shop = await openShop({ env: { FAREBOX_SESSION_KEY: SESSION_KEY } });
  const there = gateAt(shop.url, shop.config);
  const headers = { origin: new URL(shop.config.publicUrl).origin };
  const reply = await there.call("POST", PATH, { body: { address, usdc: "5.00" }, headers });
  const held = shop.localnet.tokenBalance(address);
  await shop.close();
  expect(refusal(reply).slice(0, 2)).toEqual([404, "not_found"]);
  expect(held).toBe(0n);
});
