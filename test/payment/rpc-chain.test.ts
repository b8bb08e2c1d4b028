import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PaymentRecord } from "../../server/ledger/ledger.ts";
import { type Chain, ChainError } from "../../server/payment/chain.ts";
import { createRpcChain } from "../../server/payment/rpc-chain.ts";
import {
  inventTransaction,
  type SolanaNode,
  type StoredTransaction,
  startSolanaNode,
  type TransactionFacts,
} from "../support/solana-node.ts";

const USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
const PAY_TO = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4";
const PAYER = "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd";
const MEMO = "f3a1c0d2";
const NOW = 1_760_000_000_000;
const SECONDS = NOW / 1000;
const RISEN = { mint: USDC, payTo: PAY_TO, before: "5", after: "20005" };

let node: SolanaNode;
let chain: Chain;
beforeEach(async () => {
  node = await startSolanaNode();
  chain = createRpcChain({ url: node.url, timeoutMs: 5_000, asset: USDC, now: () => NOW });
});
afterEach(() => node.close());

function invent(facts: Partial<TransactionFacts> = {}): StoredTransaction {
  return inventTransaction({ ...RISEN, memo: `[8] ${MEMO}`, blockTime: SECONDS, ...facts });
}

function others(count: number, facts: Partial<TransactionFacts> = {}): StoredTransaction[] {
  return Array.from({ length: count }, () => invent({ memo: "[5] other", ...facts }));
}

function record(of: { readonly id: string }, facts: Partial<PaymentRecord> = {}): PaymentRecord {
  return {
    id: of.id,
    state: "unknown",
    fence: 1,
    fingerprint: "",
    payer: PAYER,
    amount: 20_000n,
    assetAmount: 20_000n,
    isTopUp: false,
    asset: USDC,
    payTo: PAY_TO,
    network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    x402Version: 2,
    route: "POST /agent",
    memo: MEMO,
    feePayer: PAYER,
    claimHeight: 700n,
    beneficiary: undefined,
    transaction: undefined,
    reason: undefined,
    watched: false,
    orphaned: false,
    servings: 0,
    leased: true,
    createdAt: NOW,
    updatedAt: NOW,
    ...facts,
  };
}

const nowhere = () => ({ id: randomBytes(32).toString("hex") });
const asked = (method: string) => node.asked.filter((call) => call.method === method);

describe("the payment is on the chain", () => {
  test.each<[string, Partial<TransactionFacts>]>([
    ["a memo as nodes write it", {}],
    ["several memos", { memo: `[2] hi; [8] ${MEMO}` }],
    ["no memo told", { memo: null }],
    ["no block time", { blockTime: null }],
    ["a first payment to payTo's account", { before: undefined, after: "20000" }],
  ])("%s: settled", async (_name, facts) => {
    const payment = invent(facts);
    node.transactions = [...others(3), payment, ...others(3)];
    expect(await chain.find(record(payment))).toEqual({ found: "settled", transaction: payment.signature });
  });

  test("with a memo, nothing else is looked into", async () => {
    const payment = invent();
    node.transactions = [...others(20), payment];
    await chain.find(record(payment));
    expect(asked("getTransaction")).toHaveLength(1);
  });

  test("a v1 payment without a memo is found by its hash", async () => {
    const payment = invent({ memo: null });
    node.transactions = [...others(20, { memo: null }), payment];
    expect(await chain.find(record(payment, { memo: "" }))).toMatchObject({ found: "settled" });
  });

  test("another payment that copied the memo does not hide it", async () => {
    const payment = invent();
    node.transactions = [invent(), payment, invent()];
    expect(await chain.find(record(payment))).toEqual({ found: "settled", transaction: payment.signature });
  });

  test("on the third page", async () => {
    const payment = invent();
    node.transactions = [...others(2_500), payment];
    expect(await chain.find(record(payment))).toMatchObject({ found: "settled" });
    expect(asked("getSignaturesForAddress")).toHaveLength(3);
  });

  test.each<[string, Partial<TransactionFacts>]>([
    ["an error", { err: { InstructionError: [2, { Custom: 1 }] } }],
    ["an error in a word", { err: "AccountInUse" }],
    ["too small a rise", { after: "20004" }],
    ["no rise", { after: "5" }],
  ])("landed with %s: failed", async (_name, facts) => {
    const payment = invent(facts);
    node.transactions = [payment];
    expect(await chain.find(record(payment))).toEqual({ found: "failed", transaction: payment.signature });
  });

  test("another mint's balance does not count", async () => {
    const payment = invent({ mint: PAYER });
    node.transactions = [payment];
    await expect(chain.find(record(payment))).rejects.toThrow(ChainError);
  });
});

describe("the facilitator's hint", () => {
  test("is asked for first, and nothing else if it is the payment", async () => {
    const payment = invent();
    node.transactions = [payment];
    const found = await chain.find(record(payment, { transaction: payment.signature }));
    expect(found).toEqual({ found: "settled", transaction: payment.signature });
    expect(asked("getSignaturesForAddress")).toEqual([]);
  });

  test.each([
    ["is another payment", () => invent().signature],
    ["is unknown to the node", () => inventTransaction(RISEN).signature],
    ["is no signature", () => "pending"],
  ])("%s: the search goes on", async (_name, hint) => {
    const payment = invent();
    node.transactions = [payment, ...others(2)];
    const found = await chain.find(record(payment, { transaction: hint() }));
    expect(found).toEqual({ found: "settled", transaction: payment.signature });
  });
});

describe("absent", () => {
  test("an empty history", async () => {
    expect(await chain.find(record(nowhere()))).toEqual({ found: "absent" });
  });

  test("a history that goes back beyond the claim; older pages are not asked for", async () => {
    node.transactions = [...others(5), ...others(2_000, { blockTime: SECONDS - 301 })];
    expect(await chain.find(record(nowhere()))).toEqual({ found: "absent" });
    expect(asked("getSignaturesForAddress")).toHaveLength(1);
  });

  test("without memos, later transactions than the payment can be are not looked into", async () => {
    const createdAt = NOW - 60 * 60_000;
    node.transactions = others(30, { memo: null });
    expect(await chain.find(record(nowhere(), { createdAt, memo: "" }))).toEqual({ found: "absent" });
    expect(asked("getTransaction")).toEqual([]);
  });

  test("an old record: only if the node's history reaches back to it", async () => {
    const old = record(nowhere(), { createdAt: NOW - 86_400_000 });
    await expect(chain.find(old)).rejects.toThrow(ChainError);
    node.answer("getFirstAvailableBlock", 500);
    node.answer("getBlockTime", SECONDS - 3600);
    await expect(chain.find(old)).rejects.toThrow(ChainError);
    node.answer("getBlockTime", SECONDS - 2 * 86_400);
    expect(await chain.find(old)).toEqual({ found: "absent" });
    node.answer("getFirstAvailableBlock", 0);
    node.fail("getBlockTime", -32004);
    expect(await chain.find(old)).toEqual({ found: "absent" });
  });
});

describe("the node cannot tell", () => {
  test("it lags behind the height that was asked for before", async () => {
    node.contextSlot = 999;
    expect(await chain.find(record(nowhere()))).toEqual({ found: "absent" });
    expect(await chain.finalizedHeight()).toBe(900n);
    await expect(chain.find(record(nowhere()))).rejects.toThrow(ChainError);
    node.contextSlot = 1_000;
    expect(await chain.find(record(nowhere()))).toEqual({ found: "absent" });
  });

  test.each<[string, (payment: StoredTransaction) => void]>([
    ["the list is an error", () => node.fail("getSignaturesForAddress", -32005)],
    ["the list is garbage", () => node.answer("getSignaturesForAddress", "<html>")],
    ["the list is no list", () => node.answer("getSignaturesForAddress", { value: [] })],
    ["the list is null", () => node.answer("getSignaturesForAddress", null)],
    ["no result at all", () => node.answer("getSignaturesForAddress", "{}")],
    ["the transaction is an error", () => node.fail("getTransaction", -32603)],
    ["a listed transaction is not there", () => node.answer("getTransaction", null)],
    [
      "the transaction cannot be decoded",
      (payment) => node.answer("getTransaction", altered(payment, {}, "AAAA")),
    ],
    ["the transaction is empty", (payment) => node.answer("getTransaction", altered(payment, {}, ""))],
    [
      "its error field is missing",
      (payment) => node.answer("getTransaction", altered(payment, { err: undefined })),
    ],
    [
      "its balances are missing",
      (payment) => node.answer("getTransaction", altered(payment, { postTokenBalances: null })),
    ],
    [
      "payTo has no balance",
      (payment) => node.answer("getTransaction", altered(payment, { postTokenBalances: [] })),
    ],
  ])("%s", async (_name, breakIt) => {
    const payment = invent();
    node.transactions = [payment];
    breakIt(payment);
    await expect(chain.find(record(payment))).rejects.toThrow(ChainError);
  });

  test("the history is longer than we page", async () => {
    node.answer(
      "getSignaturesForAddress",
      others(1_000).map(({ signature }) => ({ signature, memo: "x" })),
    );
    await expect(chain.find(record(nowhere()))).rejects.toThrow(/too long/);
    expect(asked("getSignaturesForAddress")).toHaveLength(50);
  });

  test("too many candidates without a memo", async () => {
    node.transactions = others(1_001, { memo: null });
    await expect(chain.find(record(nowhere()))).rejects.toThrow(/Too many/);
    expect(asked("getTransaction")).toEqual([]);
  });

  test("a payment in another asset, a payer that is no address", async () => {
    await expect(chain.find(record(nowhere(), { asset: PAYER }))).rejects.toThrow(ChainError);
    await expect(chain.find(record(nowhere(), { payer: "nobody" }))).rejects.toThrow(ChainError);
  });

  test("nobody listens, and the access key in the URL is not shown", async () => {
    await node.close();
    const secret = createRpcChain({ url: `${node.url}/?api-key=s3cret`, timeoutMs: 5_000, asset: USDC });
    const error = await secret.height().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ChainError);
    expect((error as Error).message).not.toContain("s3cret");
    node = await startSolanaNode();
  });

  test("it does not answer in time", async () => {
    const hanging = createRpcChain({
      url: node.url,
      timeoutMs: 20,
      asset: USDC,
      fetch: (_url, { signal }) =>
        new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
    });
    await expect(hanging.height()).rejects.toThrow(ChainError);
  });
});

function altered(payment: StoredTransaction, meta: object, wire?: string): unknown {
  const reply = payment.reply as { meta: object; transaction: unknown };
  return {
    ...reply,
    ...(wire === undefined ? {} : { transaction: [wire, "base64"] }),
    meta: { ...reply.meta, ...meta },
  };
}

test("heights", async () => {
  expect(await chain.finalizedHeight()).toBe(900n);
  expect(await chain.height()).toBe(932n);
  node.answer("getBlockHeight", "nonsense");
  await expect(chain.height()).rejects.toThrow(ChainError);
});

test("a token account: the official derivation, and whether it exists", async () => {
  node.answer("getAccountInfo", { value: { owner: "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA" } });
  const account = await chain.tokenAccount(PAY_TO, USDC);
  expect(account).toEqual({ address: "3XZXfFJHF5ox3yPop16oqYfSWxLpkjsEuvTe2S67G2rj", exists: true });
  for (const value of [null, { owner: "11111111111111111111111111111111" }]) {
    node.answer("getAccountInfo", { value });
    expect(await chain.tokenAccount(PAY_TO, USDC)).toEqual({ ...account, exists: false });
  }
});
