import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createSolanaRpc, type KeyPairSigner } from "@solana/kit";
import { wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { associatedTokenAccount } from "../../server/payment/rpc-chain.ts";
import { type Buyer, createBuyer, post, proofOf } from "../support/buyer.ts";
import { lastingPort } from "../support/lasting-port.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Browser, type Gate, gateAt, newWallet, refusal, SESSION_KEY } from "./account-world.ts";

const USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
const CHAT = { model: "gpt-test", messages: [{ role: "user", content: "Hi" }] };

/** Brings JSON-RPC to wherever it is told to, and keeps what was asked. */
interface Relay {
  readonly url: string;
  readonly asked: Record<string, unknown>[];
  forward: (body: string) => Promise<{ readonly status: number; readonly text: string }>;
  close(): Promise<void>;
}

async function startRelay(): Promise<Relay> {
  const asked: Record<string, unknown>[] = [];
  const server: Server = createServer(async (req, res) => {
    const pieces: Buffer[] = [];
    for await (const piece of req) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces).toString();
    asked.push(JSON.parse(body));
    const { status, text } = await relay.forward(body).catch(() => ({ status: 502, text: "" }));
    res.writeHead(status, { "content-type": "application/json" }).end(text);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const relay: Relay = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    forward: () => Promise.reject(new Error("nobody is there yet")),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return relay;
}

let node: Relay;
let shop: Shop;
let gate: Gate;
let buyer: Buyer;
let browser: Browser;
let own: string;
/** The first node is out of reach, so what is answered is the second's. */
beforeAll(async () => {
  node = await startRelay();
  const RPC_URL = `http://127.0.0.1:${await lastingPort()},${node.url}`;
  shop = await openShop({ noGateway: true, env: { FAREBOX_SESSION_KEY: SESSION_KEY, RPC_URL } });
  node.forward = async (body) => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(shop.localnet.rpcUrl, { method: "POST", headers, body });
    return { status: response.status, text: await response.text() };
  };
  await shop.restart();
  gate = gateAt(shop.url, shop.config);
});
beforeEach(async () => {
  buyer = await createBuyer(shop);
  browser = await gate.signIn(buyer.signer);
  own = await associatedTokenAccount(buyer.address, USDC);
  node.asked.length = 0;
});
afterAll(async () => {
  await shop.close();
  await node.close();
});

const base64 = { encoding: "base64" };

function rpc(method: string, params?: unknown, fields: object = {}) {
  return browser.call("POST", "/account/rpc", {
    body: { jsonrpc: "2.0", id: "7", method, params, ...fields },
  });
}

/** What reached the node of what callers asked; the gateway itself asks for other things. */
function reached(): readonly unknown[] {
  return node.asked
    .filter(({ method }) => method !== "getEpochInfo" && method !== "getBlockHeight")
    .map(({ method, params }) => [method, params]);
}

describe("what signing needs", () => {
  test("the official client signs by it alone, and its payment settles", async () => {
    const page = await startRelay();
    page.forward = (body) => browser.call("POST", "/account/rpc", { body });
    const scheme = new ExactSvmScheme(buyer.signer, { rpcUrl: page.url });
    const pay = wrapFetchWithPayment(fetch, new x402Client().register("solana:*", scheme));
    const paid = await pay(`${shop.url}/v1/chat/completions`, post(CHAT));
    await paid.text();
    await page.close();
    expect(paid.status).toBe(200);
    expect(proofOf(paid)).toMatchObject({ success: true, payer: buyer.address });
    expect(shop.localnet.tokenBalance(buyer.address)).toBe(4_980_000n);
    expect(page.asked.map(({ method }) => method)).toEqual(["getAccountInfo", "getLatestBlockhash"]);
  });

  test("the wallet sees what its own token account holds", async () => {
    const page = await startRelay();
    page.forward = (body) => browser.call("POST", "/account/rpc", { body });
    const { value } = await createSolanaRpc(page.url)
      .getAccountInfo(own as never, { encoding: "base64", commitment: "confirmed" })
      .send();
    await page.close();
    const data = Buffer.from(String(value?.data[0]), "base64");
    expect(data.readBigUInt64LE(64)).toBe(5_000_000n);
  });

  test("an account that is not there is null", async () => {
    const poor = await newWallet();
    browser = await gate.signIn(poor);
    const none = await associatedTokenAccount(poor.address, USDC);
    expect((await rpc("getAccountInfo", [none, base64])).json).toMatchObject({
      id: "7",
      result: { value: null },
    });
  });

  test("a SIGN-IN-WITH-X header does as well as a session", async () => {
    const body = { jsonrpc: "2.0", id: 1, method: "getLatestBlockhash" };
    const reply = await gate.call("POST", "/account/rpc", { body, headers: await gate.header(buyer.signer) });
    expect(reply.json).toMatchObject({
      jsonrpc: "2.0",
      id: 1,
      result: { value: { blockhash: expect.any(String) } },
    });
  });

  test("each request is made anew: the node sees our own id and parameters", async () => {
    await rpc("getAccountInfo", [USDC, { commitment: "confirmed", encoding: "base64" }], { id: "mine" });
    await rpc("getLatestBlockhash", []);
    await rpc("getLatestBlockhash", [{ commitment: "processed" }]);
    expect(reached()).toEqual([
      ["getAccountInfo", [USDC, { encoding: "base64", commitment: "confirmed" }]],
      ["getLatestBlockhash", [{ commitment: "finalized" }]],
      ["getLatestBlockhash", [{ commitment: "processed" }]],
    ]);
    expect(JSON.stringify(node.asked)).not.toContain("mine");
  });
});

describe("what it does not", () => {
  test.each([
    "getBalance",
    "getTokenAccountBalance",
    "getTokenAccountsByOwner",
    "getMultipleAccounts",
    "getProgramAccounts",
    "getSignaturesForAddress",
    "getTransaction",
    "sendTransaction",
    "simulateTransaction",
    "requestAirdrop",
    "getHealth",
    "getlatestblockhash",
    "constructor",
    "__proto__",
  ])("%s is refused, for the wallet's own address too", async (method) => {
    for (const params of [[own, base64], [buyer.address], [], undefined]) {
      const { status, json } = await rpc(method, params);
      expect([status, json]).toEqual([
        200,
        {
          ...{ jsonrpc: "2.0", id: "7" },
          error: { code: -32601, message: "Only what signing a payment needs is answered here." },
        },
      ]);
    }
    expect(reached()).toEqual([]);
  });

  test("other accounts are refused: another's, the wallet itself, the merchant's, another mint's", async () => {
    const other: KeyPairSigner = await newWallet();
    const accounts = [
      other.address,
      await associatedTokenAccount(other.address, USDC),
      buyer.address,
      shop.localnet.merchant,
      await associatedTokenAccount(shop.localnet.merchant, USDC),
      await associatedTokenAccount(buyer.address, other.address),
      shop.localnet.feePayer,
    ];
    for (const account of accounts) {
      const { json } = await rpc("getAccountInfo", [account, base64]);
      expect([account, json["error"]]).toMatchObject([account, { code: -32602 }]);
    }
    expect(reached()).toEqual([]);
  });

  test.each<[string, (own: string) => unknown[]]>([
    ["no parameters", () => []],
    ["no settings", (account) => [account]],
    ["no encoding", (account) => [account, {}]],
    ["another encoding", (account) => [account, { encoding: "jsonParsed" }]],
    ["a part of the data", (account) => [account, { ...base64, dataSlice: { offset: 0, length: 1 } }]],
    ["a slot of its own", (account) => [account, { ...base64, minContextSlot: 1 }]],
    ["another commitment", (account) => [account, { ...base64, commitment: "recent" }]],
    ["one parameter more", (account) => [account, base64, {}]],
    ["many accounts", (account) => [[account], base64]],
    ["no address", () => ["not-an-address", base64]],
    ["an object for the address", (account) => [{ toString: account }, base64]],
  ])("getAccountInfo with %s is refused", async (_, params) => {
    const { status, json } = await rpc("getAccountInfo", params(own));
    expect([status, json["error"]]).toMatchObject([200, { code: -32602 }]);
    expect(reached()).toEqual([]);
  });

  test.each([
    ["a slot of its own", [{ commitment: "confirmed", minContextSlot: 1 }]],
    ["one parameter more", [{ commitment: "confirmed" }, {}]],
    ["a text", ["confirmed"]],
  ])("getLatestBlockhash with %s is refused", async (_, params) => {
    expect((await rpc("getLatestBlockhash", params)).json["error"]).toMatchObject({ code: -32602 });
    expect(reached()).toEqual([]);
  });

  const good = { jsonrpc: "2.0", id: 1, method: "getLatestBlockhash" };
  test.each<[string, unknown]>([
    ["a batch", [good, good]],
    ["an empty batch", []],
    ["a field more", { ...good, extra: 1 }],
    ["no id", { jsonrpc: "2.0", method: "getLatestBlockhash" }],
    ["a long id", { ...good, id: "x".repeat(65) }],
    ["an object as id", { ...good, id: {} }],
    ["another version", { ...good, jsonrpc: "1.0" }],
    ["named parameters", { ...good, params: { commitment: "confirmed" } }],
    ["nothing", {}],
  ])("%s is no request", async (_, body) => {
    expect(refusal(await browser.call("POST", "/account/rpc", { body })).slice(0, 2)).toEqual([
      400,
      "invalid_request",
    ]);
    expect(reached()).toEqual([]);
  });

  test("a body that is too large or no JSON is refused", async () => {
    const large = await browser.call("POST", "/account/rpc", {
      body: { ...good, method: "x".repeat(70_000) },
    });
    const broken = await browser.call("POST", "/account/rpc", { body: "{" });
    expect([refusal(large).slice(0, 2), refusal(broken).slice(0, 2)]).toEqual([
      [413, "body_too_large"],
      [400, "invalid_json"],
    ]);
  });

  test("nobody asks who is not signed in, comes from another site or has a key; a token is not needed", async () => {
    const { cookie = "", origin = "" } = browser.headers;
    const ask = (headers: Record<string, string>) =>
      gate.call("POST", "/account/rpc", { body: good, headers });
    const replies = [
      await ask({}),
      await ask({ origin }),
      await ask({ ...browser.headers, origin: "https://evil.example" }),
      await ask({ authorization: "Bearer sk_farebox_0000000000000000000000000000000000" }),
      await gate.call("GET", "/account/rpc", { headers: { cookie } }),
    ];
    expect(replies.map((reply) => refusal(reply).slice(0, 2))).toEqual([
      [403, "csrf_refused"],
      [401, "sign_in_required"],
      [403, "csrf_refused"],
      [401, "tier_not_accepted"],
      [404, "not_found"],
    ]);
    expect(reached()).toEqual([]);
    expect((await ask({ cookie, origin })).status).toBe(200);
  });
});

test("a wallet asks 60 times a minute, whatever it asks; another's turn is its own", async () => {
  const statuses: number[] = [];
  for (let count = 0; count < 60; count += 1) {
    statuses.push((await rpc(count % 2 === 0 ? "getLatestBlockhash" : "getHealth")).status);
  }
  const refused = await rpc("getLatestBlockhash");
  const again = await gate.signIn(buyer.signer);
  const body = { jsonrpc: "2.0", id: 1, method: "getLatestBlockhash" };
  const otherSession = await again.call("POST", "/account/rpc", { body });
  const other = await (await gate.signIn(await newWallet())).call("POST", "/account/rpc", { body });
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(refusal(refused).slice(0, 2)).toEqual([429, "rate_limit_exceeded"]);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(Number(refused.headers.get("retry-after"))).toBeLessThanOrEqual(60);
  expect([otherSession.status, other.status]).toEqual([429, 200]);
});

test.each<[string, () => Promise<{ status: number; text: string }>]>([
  ["refuse", async () => ({ status: 500, text: "secret of the node" })],
  ["answer with an error", async () => answer({ error: { code: -32000, message: "secret of the node" } })],
  [
    "answer something else",
    async () => answer({ result: { context: { slot: 1 }, value: "secret of the node" } }),
  ],
])("nodes that %s are an error that a person can read, without their words", async (_, forward) => {
  const working = node.forward;
  node.forward = forward;
  const reply = await rpc("getLatestBlockhash");
  node.forward = working;
  const message = "No Solana node answers now. Nothing was spent; try again.";
  expect([reply.status, reply.json]).toEqual([
    200,
    { jsonrpc: "2.0", id: "7", error: { code: -32603, message } },
  ]);
  expect((await rpc("getLatestBlockhash")).json).toHaveProperty("result");
});

test("of what a node says only the known fields go out, and only in bounded size", async () => {
  const working = node.forward;
  const account = {
    executable: false,
    lamports: 1,
    owner: USDC,
    space: 3,
    rentEpoch: 0,
    note: "secret of the node",
  };
  const stored = (data: Buffer) =>
    answer({
      result: {
        context: { slot: 9, apiVersion: "4.0" },
        value: { ...account, data: [data.toString("base64"), "base64"] },
      },
    });
  node.forward = async () => stored(Buffer.alloc(3));
  const small = await rpc("getAccountInfo", [own, base64]);
  node.forward = async () => stored(Buffer.alloc(65_539));
  const large = await rpc("getAccountInfo", [own, base64]);
  node.forward = working;
  expect(small.json["result"]).toEqual({
    context: { slot: 9 },
    value: { data: ["AAAA", "base64"], executable: false, lamports: 1, owner: USDC, space: 3 },
  });
  expect(large.json["error"]).toMatchObject({ code: -32603 });
});

function answer(body: object): { status: number; text: string } {
  return { status: 200, text: JSON.stringify({ jsonrpc: "2.0", id: 1, ...body }) };
}
