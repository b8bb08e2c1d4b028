import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { generateKeyPairSigner, type KeyPairSigner } from "@solana/kit";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PLAY_MINT } from "../../client/asset.ts";
import { Farebox, type WalletOptions } from "../../client/farebox.ts";
import { runPay } from "../../client/run-pay.ts";
import { post, termsOf } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { landed } from "../topup/credit-shop.ts";
import { expectTokenBooksClosed, openTokenShop, type TokenShop } from "../topup/token-shop.ts";
import { type Listening, listen } from "./listen.ts";

let shop: TokenShop;
let wallet: KeyPairSigner;
let directory: string;
const open: Listening[] = [];
beforeAll(async () => {
  shop = await openTokenShop();
  directory = await mkdtemp(join(tmpdir(), "farebox-pay-"));
  wallet = await generateKeyPairSigner();
  for (const mint of [shop.localnet.asset, shop.classic.mint, shop.play.mint]) {
    await shop.localnet.fund(wallet.address, 10n ** 15n, mint);
  }
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
  await expectTokenBooksClosed(shop);
});
afterAll(async () => {
  await shop.close();
  await rm(directory, { recursive: true });
});

function client(options: Partial<WalletOptions> = {}): Farebox {
  return new Farebox({ baseUrl: shop.url, wallet, rpcUrl: shop.localnet.rpcUrl, ...options });
}

const topUp = (farebox: Farebox, url = `${shop.url}/topup`) => farebox.request(url, post({ amount: "0.45" }));

test("the client's play token is the local chain's", () => {
  expect(PLAY_MINT).toBe(shop.localnet.play);
});

test.each([
  ["the classic program", () => shop.classic, "1", 1_000_000n],
  ["Token-2022", () => shop.play, "37.894736843", 37_894_736_843n],
] as const)("pays in a token of %s, up to its limit and not above", async (_name, setting, limit, atomic) => {
  const { mint } = setting();
  const response = await topUp(client({ asset: mint, maxAmount: limit }));
  expect(await response.json()).toMatchObject({ asset: mint, asset_amount: atomic.toString() });
  await topUp(client({ asset: mint, maxAmount: atomic }));
  const before = landed(shop, mint).size;
  for (const maxAmount of [atomic - 1n, limit.replace(/.$/, "0")]) {
    await expect(topUp(client({ asset: mint, maxAmount }))).rejects.toMatchObject({ code: "too_dear" });
  }
  expect(landed(shop, mint).size).toBe(before);
});

test("its answer lost, the same payment is sent again: one transfer, one credit", async () => {
  const before = landed(shop, shop.play.mint).size;
  shop.facilitator.fail("settle", faults.dropAfter);
  const response = await topUp(client({ asset: shop.play.mint, maxAmount: "40" }));
  expect(response.status).toBe(200);
  expect(landed(shop, shop.play.mint).size).toBe(before + 1);
});

test("without a choice it pays in USDC, whatever else is offered", async () => {
  const response = await topUp(client({ maxPrice: "$0.45" }));
  expect(await response.json()).toMatchObject({ asset: shop.localnet.asset });
  await expect(topUp(client({ maxPrice: "$0.44" }))).rejects.toMatchObject({ code: "too_dear" });
});

test("a call that is not offered in the token is not paid for", async () => {
  const farebox = client({ asset: shop.play.mint, maxAmount: "1000" });
  await expect(farebox.agent("hi")).rejects.toMatchObject({ code: "not_payable" });
});

test.each<[string, Partial<WalletOptions>]>([
  ["a token without a limit", { asset: PLAY_MINT }],
  ["a limit that is no amount", { asset: PLAY_MINT, maxAmount: "1e9" }],
  ["a limit below nothing", { asset: PLAY_MINT, maxAmount: "-1" }],
  ["a token's limit without a token", { maxAmount: "5" }],
  ["a symbol, which anybody can use", { asset: "ROUTER", maxAmount: "5" }],
  ["PLAY where no play money is", { asset: "PLAY", maxAmount: "5" }],
])("%s is refused before anything is asked", (_name, options) => {
  expect(() => client(options)).toThrow(expect.objectContaining({ code: "invalid_options" }));
});

test("a limit with more decimals than the token has is refused, and nothing is signed", async () => {
  const farebox = client({ asset: shop.classic.mint, maxAmount: "1.0000001" });
  await expect(topUp(farebox)).rejects.toMatchObject({ code: "invalid_options" });
});

interface Offer {
  asset: string;
  amount: string;
  extra: Record<string, unknown>;
}

/** A shop in front of the shop, which changes what the 402 offers. */
async function liar(change: (offers: Offer[]) => void): Promise<string> {
  const server = createServer(async (_req, res) => {
    const terms = termsOf(await fetch(`${shop.url}/topup`, post({ amount: "0.45" })));
    change(terms.accepts as unknown as Offer[]);
    res.writeHead(402, { "PAYMENT-REQUIRED": Buffer.from(JSON.stringify(terms)).toString("base64") }).end();
  });
  const listening = await listen(server);
  open.push(listening);
  return listening.url;
}

test("a server that calls a dear token PLAY is not paid in it", async () => {
  const url = await liar((offers) => {
    for (const offer of offers) offer.extra["symbol"] = "PLAY";
    offers.splice(2, 1);
  });
  const farebox = client({ asset: "PLAY", local: true, maxAmount: "1000000" });
  await expect(topUp(farebox, url)).rejects.toMatchObject({ code: "not_payable" });
});

test("a server that lies about decimals does not move the limit", async () => {
  const url = await liar((offers) => {
    for (const offer of offers) {
      offer.amount = "40000000000";
      offer.extra["decimals"] = 18;
    }
  });
  const signed: unknown[] = [];
  const onEvent = ({ type }: { readonly type: string }) => void (type === "signed" && signed.push(type));
  const farebox = client({ asset: shop.play.mint, maxAmount: "39", onEvent });
  await expect(topUp(farebox, url)).rejects.toMatchObject({ code: "too_dear" });
  expect(signed).toEqual([]);
});

async function pay(...words: readonly string[]) {
  const written = { out: "", err: "" };
  const stream = (name: "out" | "err") =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += chunk;
        done();
      },
    });
  const env = {
    SOLANA_RPC_URL: shop.localnet.rpcUrl,
    LOCALNET_FACILITATOR_PORT: new URL(shop.localnet.facilitatorUrl).port,
    FAREBOX_WALLET: join(directory, "wallet.json"),
  };
  const code = await runPay(words, { env, stdout: stream("out"), stderr: stream("err") });
  return { code, ...written };
}

const TOP_UP = ["-d", '{"amount":"0.45"}'];

test("pay --asset PLAY: the local faucet gives it, and what it costs is told in it", async () => {
  const url = `${shop.url}/topup`;
  const { code, out, err } = await pay(url, ...TOP_UP, "--asset", "PLAY", "--max-amount", "40", "--json");
  expect(err).toContain("402 Payment Required: 37.894736843 PLAY");
  expect(err).toContain("balance 0 PLAY; the local faucet gave 1000 (play money)");
  expect(err).toContain("paying 37.894736843 PLAY from ");
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    ...{ status: 200, price: null, asset: shop.play.mint, amount: "37.894736843" },
    body: { amount: "0.45", asset_amount: "37894736843" },
  });
});

test("pay: above the token's limit it exits with 3, and nothing moves", async () => {
  const before = landed(shop, shop.play.mint).size;
  const words = [`${shop.url}/topup`, ...TOP_UP, "--asset", shop.play.mint, "--max-amount", "37"];
  const { code, err } = await pay(...words);
  expect(code).toBe(3);
  expect(err).toContain(`costs 37.894736843 ${shop.play.mint}, above the limit of 37 `);
  expect(landed(shop, shop.play.mint).size).toBe(before);
});

test.each([
  [["--asset", "PLAY"], "--asset needs --max-amount"],
  [["--asset", "PLAY", "--max", "1", "--max-amount", "1"], "--max is for USDC"],
  [["--max-amount", "1"], "--max-amount is for --asset"],
  [["--asset", "PLAY", "--max-amount", "lots"], "--max-amount is an amount of tokens"],
  [["--asset", "ROUTER", "--max-amount", "1"], "--asset is the mint of a token"],
])("pay %j is a wrong command line", async (words, problem) => {
  const { code, err } = await pay(`${shop.url}/topup`, ...TOP_UP, ...words);
  expect(code).toBe(2);
  expect(err).toContain(problem);
});
