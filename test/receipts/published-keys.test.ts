import { generateKeyPairSync } from "node:crypto";
import { calculateJwkThumbprint, type JSONWebKeySet } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../server/load-config.ts";
import { createLogger } from "../../server/log.ts";
import { createMetrics } from "../../server/metrics.ts";
import { observeReceipts } from "../../server/observe-payments.ts";
import { createProof } from "../../server/payment/proof.ts";
import { deriveReceiptKeys, didOf } from "../../server/receipts/receipt-keys.ts";
import { createReceipts, openReceipts } from "../../server/receipts/receipts.ts";
import { RECEIPT_KEY, SHOP_ENV } from "../account/account-world.ts";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { type Buyer, createBuyer, paymentId, post } from "../support/buyer.ts";
import { keepLines } from "../support/log-lines.ts";
import { kidOf, openReceiptShop, receiptOf, verified } from "./receipt-stand.ts";

const OTHER_KEY = Buffer.alloc(32, 6).toString("hex");
const PATHS = ["/.well-known/jwks.json", "/.well-known/did.json"];
const quiet = { issued: () => {} };

function opened(env: Record<string, string> = {}, yaml = "") {
  const readFile = () => `models: { gpt: {} }\n${yaml}`;
  const loaded = loadConfig({ env: { ...SHOP_ENV, ...env }, cwd: "/", readFile });
  if ("problems" in loaded) throw new Error(JSON.stringify(loaded.problems));
  return openReceipts(loaded.config, quiet);
}

async function keysOf(settings: ReturnType<typeof opened>): Promise<JSONWebKeySet["keys"]> {
  const { documents } = await settings;
  const set = documents["/.well-known/jwks.json"]?.body as unknown as JSONWebKeySet | undefined;
  return set?.keys ?? [];
}

describe("of a gateway that gives receipts", () => {
  let shop: KeyedShop;
  let buyer: Buyer;
  beforeAll(async () => {
    shop = await openReceiptShop({ yaml: "receipts: { transaction: true }\n" });
    buyer = await createBuyer(shop);
  });
  afterAll(() => shop.close());

  test("a set with the public members alone, under the name that receipts give the key", async () => {
    const { keys } = (await (await fetch(shop.url + PATHS[0])).json()) as JSONWebKeySet;
    expect(keys).toEqual([
      {
        kty: "OKP",
        crv: "Ed25519",
        x: expect.any(String),
        kid: expect.any(String),
        alg: "EdDSA",
        use: "sig",
      },
    ]);
    const [key] = keys;
    const receipt = receiptOf(await buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi" }))) ?? "";
    expect(kidOf(receipt)).toBe(key?.kid);
    const thumbprint = await calculateJwkThumbprint(key ?? {});
    expect(key?.kid).toBe(`did:web:${encodeURIComponent(new URL(shop.url).host)}#${thumbprint}`);
    const secret = deriveReceiptKeys([{ id: "", key: Buffer.from(RECEIPT_KEY, "hex") }], "")[0]?.privateKey;
    const { d } = secret?.export({ format: "jwk" }) ?? {};
    for (const path of PATHS) expect(await (await fetch(shop.url + path)).text()).not.toContain(d);
  });

  test.each(PATHS)("%s: free, for any origin, five minutes, with an ETag", async (path) => {
    const url = shop.url + path;
    const response = await fetch(url);
    const etag = response.headers.get("etag") ?? "";
    expect(response.headers.get("cache-control")).toBe("public, max-age=300");
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("content-type")).toMatch(/^application\/(?:jwk-set|did)\+json/);
    expect((await fetch(url, { headers: { "if-none-match": etag } })).status).toBe(304);
    const head = await fetch(url, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect((await fetch(url, { method: "POST" })).status).toBe(405);
    expect((await fetch(url, { method: "OPTIONS" })).status).toBe(204);
  });

  test("the transaction is named where the operator says so", async () => {
    const init = post({ prompt: "Hi" });
    const payment = await buyer.sign(`${shop.url}/agent`, init);
    const response = await buyer.send(`${shop.url}/agent`, init, payment);
    const { transaction } = (await shop.gateway.ledger.payment(paymentId(payment))) ?? {};
    expect(await verified(shop, receiptOf(response) ?? "")).toMatchObject({ transaction });
  });
});

test("switched off: none are given, and what signed once stays published", async () => {
  const shop = await openReceiptShop({ yaml: "receipts: { enabled: false }\n" });
  const buyer = await createBuyer(shop);
  const response = await buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi" }));
  const published = await fetch(shop.url + PATHS[0]);
  await shop.close();
  expect(response.status).toBe(200);
  expect(receiptOf(response)).toBeUndefined();
  expect(((await published.json()) as JSONWebKeySet).keys).toHaveLength(1);
});

test("without a key there are no receipts, and nothing is published", async () => {
  const shop = await openReceiptShop({ env: { FAREBOX_RECEIPT_KEY: "" } });
  const buyer = await createBuyer(shop);
  const response = await buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi" }));
  const statuses = await Promise.all(PATHS.map(async (path) => (await fetch(shop.url + path)).status));
  await shop.close();
  expect(response.status).toBe(200);
  expect(receiptOf(response)).toBeUndefined();
  expect(statuses).toEqual([404, 404]);
});

describe("rotation", () => {
  test("the newest key signs; the one before stays published while it is configured, and after as a former key", async () => {
    const [before] = await keysOf(opened());
    const [newest, older, ...more] = await keysOf(
      opened({ FAREBOX_RECEIPT_KEY: `${OTHER_KEY},${RECEIPT_KEY}` }),
    );
    expect([older, more]).toEqual([before, []]);
    const yaml = `receipts: { formerKeys: ["${before?.x}"] }`;
    const after = await keysOf(opened({ FAREBOX_RECEIPT_KEY: OTHER_KEY }, yaml));
    expect(after).toEqual([newest, before]);
    expect(await keysOf(opened({ FAREBOX_RECEIPT_KEY: `${OTHER_KEY},${RECEIPT_KEY}` }, yaml))).toEqual(after);
    expect(await keysOf(opened({ FAREBOX_RECEIPT_KEY: "" }, yaml))).toEqual([before]);
    const { receipts } = await opened({ FAREBOX_RECEIPT_KEY: OTHER_KEY }, yaml);
    expect(kidOf((await receipts?.issue(FACTS)) ?? "")).toBe(newest?.kid);
  });

  test("the same secret elsewhere is another key: a session's signs no receipt", async () => {
    const { deriveSessionKeys } = await import("../../server/account/session-keys.ts");
    const secrets = [{ id: "a", key: Buffer.from(RECEIPT_KEY, "hex") }];
    const session = deriveSessionKeys(secrets)[0]?.publicKey.export({ format: "jwk" });
    expect(deriveReceiptKeys(secrets, "did:web:x")[0]?.published.x).not.toBe(session?.x);
  });
});

test.each([
  ["https://api.example.com", "did:web:api.example.com", "/.well-known/did.json"],
  ["https://example.com:8443", "did:web:example.com%3A8443", "/.well-known/did.json"],
  ["https://example.com/ai/v1", "did:web:example.com:ai:v1", "/did.json"],
])("the DID of %s is %s, its document below it at %s", async (publicUrl, did, path) => {
  expect(didOf(publicUrl)).toBe(did);
  const { documents } = await opened({ PUBLIC_URL: publicUrl });
  expect(Object.keys(documents)).toEqual(["/.well-known/jwks.json", path]);
  expect(documents[path]?.body).toMatchObject({ id: did });
});

const FACTS = {
  payer: "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
  network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
  x402Version: 2,
  path: "/agent",
  createdAt: 1_700_000_000_999,
  transaction: "tx",
} as const;

test("a receipt that cannot be signed is left out, logged and counted; the proof of payment goes out", async () => {
  // A key that makes no signatures.
  const { privateKey } = generateKeyPairSync("x25519");
  const { lines, destination } = keepLines();
  const metrics = createMetrics();
  const receipts = await createReceipts(
    { privateKey, published: { kid: "did:web:x#y", x: "" } },
    {
      publicUrl: "https://api.example.com",
      includeTransaction: false,
      observer: observeReceipts(createLogger({ level: "info", destination }), metrics),
    },
  );
  const failing = await createProof(receipts)({ ...FACTS, assetAmount: 20_000n }, "tx");
  expect(failing).toEqual(await createProof(undefined)({ ...FACTS, assetAmount: 20_000n }, "tx"));
  expect(failing["PAYMENT-RESPONSE"]).toBeDefined();
  expect(lines).toMatchObject([{ msg: "a receipt could not be signed: answered without one" }]);
  expect(await metrics.text()).toContain('farebox_receipts_total{outcome="failed"} 1');
});
