import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { createKeyPairSignerFromPrivateKeyBytes, getBase58Decoder } from "@solana/kit";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { post } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { chunksOf, nothingPaid, provenOnChain, refusalOf, since, soldOnce, tally } from "./shop-facts.ts";

/** The part of `x402-fetch` 1.2 that is used here; its package is installed beside the benchmark's peers. */
interface LegacyClient {
  createSigner(network: string, privateKey: string): Promise<unknown>;
  wrapFetchWithPayment(
    base: typeof fetch,
    signer: unknown,
    maxValue: bigint | undefined,
    selector: undefined,
    config: { readonly svmConfig: { readonly rpcUrl: string } },
  ): typeof fetch;
}

const BENCH = new URL("../../bench/package.json", import.meta.url);
const INSTALL_MS = 300_000;

let shop: Shop;
let legacyFetch: typeof fetch;
beforeAll(async () => {
  shop = await openShop({ yaml: 'routes: { "GET /report/:id": { upstream: default, price: "$0.05" } }' });
  const { createSigner, wrapFetchWithPayment } = await loadLegacyClient();
  const seed = crypto.getRandomValues(new Uint8Array(32));
  const { address, keyPair } = await createKeyPairSignerFromPrivateKeyBytes(seed);
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", keyPair.publicKey));
  await shop.localnet.fund(address, 5_000_000n);
  const secret = getBase58Decoder().decode(Buffer.concat([seed, publicKey]));
  const signer = await createSigner("solana", secret);
  const svmConfig = { rpcUrl: shop.localnet.rpcUrl };
  legacyFetch = wrapFetchWithPayment(fetch, signer, undefined, undefined, { svmConfig });
}, INSTALL_MS);
afterAll(() => shop.close());
// This client writes no memo: within one blockhash two transfers of one amount are the same transaction.
beforeEach(() => shop.localnet.warp(1));

async function loadLegacyClient(): Promise<LegacyClient> {
  const directory = fileURLToPath(new URL(".", BENCH));
  if (!existsSync(new URL("node_modules/x402-fetch", BENCH))) {
    await promisify(execFile)("npm", ["ci", "--ignore-scripts", "--prefix", directory]);
  }
  return import(pathToFileURL(createRequire(BENCH).resolve("x402-fetch")).href);
}

test.each([
  ["POST /agent", "/agent", 20_000n, post({ prompt: "Hi" })],
  [
    "POST /v1/chat/completions",
    "/v1/chat/completions",
    20_000n,
    post({ model: "gpt-test", messages: [{ role: "user", content: "Hi" }] }),
  ],
  ["POST /v1/embeddings", "/v1/embeddings", 2_000n, post({ model: "gpt-test", input: "a" })],
  ["GET /report/:id", "/report/7", 50_000n, {}],
] as const)("x402-fetch 1.2 pays for %s", async (_name, path, price, init) => {
  const before = tally(shop);
  const response = await legacyFetch(shop.url + path, init);
  expect(response.status).toBe(200);
  expect(await response.text()).not.toBe("");
  expect(since(shop, before)).toEqual(soldOnce(price));
  await provenOnChain(shop, response);
});

test("x402-fetch 1.2 pays for a stream", async () => {
  const before = tally(shop);
  const response = await legacyFetch(`${shop.url}/agent`, post({ prompt: "Hi", stream: true }));
  let text = "";
  for await (const chunk of chunksOf(response)) text += chunk;
  expect(text).toMatch(/^data: \{"delta":"Hello[\s\S]*"done":true[\s\S]*data: \[DONE\]\n\n$/);
  expect(since(shop, before)).toEqual(soldOnce(20_000n));
  await provenOnChain(shop, response);
});

test("two of its payments of one amount within one blockhash are one payment: the second buys nothing else", async () => {
  const first = await legacyFetch(`${shop.url}/agent`, post({ prompt: "first" }));
  expect(first.status).toBe(200);
  await first.text();
  const before = tally(shop);
  const second = await legacyFetch(`${shop.url}/agent`, post({ prompt: "second" }));
  expect(await refusalOf(second)).toEqual([409, "payment_already_used"]);
  expect(since(shop, before)).toEqual(nothingPaid(0));
});
