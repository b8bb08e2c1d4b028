import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PaymentRecord } from "../../server/ledger/ledger.ts";
import { ChainError } from "../../server/payment/chain.ts";
import { createNodePool, type NodePool } from "../../server/payment/node-pool.ts";
import { createRpcChain } from "../../server/payment/rpc-chain.ts";
import { judgePayment } from "../../server/payment/verdict.ts";
import { inventTransaction, type SolanaNode, startSolanaNode } from "../support/solana-node.ts";

const USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
const PAY_TO = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4";
const PAYER = "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd";
const MEMO = "f3a1c0d2";
const NOW = 1_760_000_000_000;
const payment = inventTransaction({
  ...{ mint: USDC, payTo: PAY_TO, before: "5", after: "20005" },
  ...{ memo: `[8] ${MEMO}`, blockTime: NOW / 1000 },
});
const landed = { verdict: "settled", transaction: payment.signature };

let first: SolanaNode;
let second: SolanaNode;
let nodes: NodePool;
let states: string[];
let faults: unknown[];

beforeEach(async () => {
  [first, second] = [await startSolanaNode(), await startSolanaNode()];
  states = [];
  faults = [];
  nodes = createNodePool({
    nodes: [first, second].map(({ url }) =>
      createRpcChain({ url, timeoutMs: 30_000, asset: USDC, now: () => NOW }),
    ),
    onState: (node, state) => states.push(`${node} ${state}`),
  });
});
afterEach(() => Promise.all([first.close(), second.close()]));

/** The node's clock: finality is 32 blocks behind (solana-node.ts). */
function at(node: SolanaNode, height: number): void {
  node.finalized = { absoluteSlot: height + 68, blockHeight: height - 32 };
  node.contextSlot = height + 100;
}

/** Where finality has passed the claim's height by `blocks`. */
const CLAIM = 1_000;
const beyond = (blocks: number) => CLAIM + 32 + blocks;

function unknownPayment(claimHeight: bigint | undefined): PaymentRecord {
  return {
    ...{ id: payment.id, state: "unknown", fence: 1, fingerprint: "", payer: PAYER, amount: 20_000n },
    ...{ asset: USDC, payTo: PAY_TO, network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", x402Version: 2 },
    ...{
      assetAmount: 20_000n,
      isTopUp: false,
      route: "POST /agent",
      memo: MEMO,
      feePayer: PAYER,
      claimHeight,
      beneficiary: undefined,
      transaction: undefined,
    },
    ...{ reason: undefined, watched: false, orphaned: false, servings: 0, leased: true },
    ...{ createdAt: NOW, updatedAt: NOW },
  };
}

/** As the reconciler does it: first everybody's height, then the verdict. */
async function judge(record = unknownPayment(BigInt(CLAIM))) {
  await nodes.height().catch(() => undefined);
  return judgePayment(nodes, record, (error) => faults.push(error));
}

describe("the verdict", () => {
  test("absent from both, beyond the claim's life on both", async () => {
    at(first, beyond(151));
    at(second, beyond(151));
    expect(await judge()).toEqual({ verdict: "absent", reason: "never_landed" });
    at(first, beyond(150));
    at(second, beyond(150));
    expect(await judge()).toEqual({ verdict: "undecided", reason: "not_on_chain_yet" });
  });

  test("the height of one and the silence of the other are no verdict", async () => {
    // Node 1 cannot search; node 2 can, but the claim's life is not over there.
    at(first, beyond(190));
    first.fail("getSignaturesForAddress", -32005);
    at(second, beyond(150));
    expect(await judge()).toEqual({ verdict: "undecided", reason: "not_on_chain_yet" });
    expect(faults).toHaveLength(1);
  });

  test("it lands behind a search that missed it, and its life ends at once: never absent", async () => {
    at(first, CLAIM);
    const chain = createRpcChain({ url: first.url, timeoutMs: 30_000, asset: USDC, now: () => NOW });
    const find: typeof chain.find = async (record) => {
      const finding = await chain.find(record);
      first.transactions = [payment];
      at(first, beyond(151));
      return finding;
    };
    nodes = createNodePool({ nodes: [{ ...chain, find }], onState: () => {} });
    expect(await judge()).toMatchObject({ verdict: "undecided" });
    expect(await judge()).toEqual(landed);
  });

  test("a node that lags behind the other: never absent, the other is asked, and it is noticed once", async () => {
    // Beyond the claim's life by its own height, as after a long outage, but far behind the other, which shows the payment.
    at(first, beyond(400));
    at(second, beyond(500));
    second.transactions = [payment];
    expect(await judge()).toEqual(landed);
    expect(await judge()).toEqual(landed);
    expect(states).toEqual(["1 lagging"]);
    // Without the other's word nothing is absent.
    second.fail("getSignaturesForAddress", -32005);
    expect(await judge()).toEqual({ verdict: "undecided", reason: "node_lags" });
    at(first, beyond(499));
    await nodes.height();
    expect(states.at(-1)).toBe("1 ok");
  });

  test("a node that is seen to lag only after it was asked: never absent", async () => {
    at(first, CLAIM);
    at(second, CLAIM);
    await nodes.height();
    at(first, beyond(400));
    at(second, beyond(500));
    second.fail("getSignaturesForAddress", -32005);
    const verdict = await judgePayment(nodes, unknownPayment(BigInt(CLAIM)), () => {});
    expect(verdict).toEqual({ verdict: "undecided", reason: "node_lags" });
  });

  test("a node that was ahead and fails now still tells that the other lags", async () => {
    at(first, beyond(500));
    at(second, beyond(400));
    await nodes.height();
    await first.close();
    expect(await judge()).toEqual({ verdict: "undecided", reason: "node_lags" });
    first = await startSolanaNode();
  });

  test("a node that lags behind the claim: never absent, the other is asked", async () => {
    at(first, CLAIM - 101);
    await second.close();
    expect(await judge()).toEqual({ verdict: "undecided", reason: "node_lags" });
    expect(await judge()).toEqual({ verdict: "undecided", reason: "node_lags" });
    expect(states.filter((state) => state.startsWith("1"))).toEqual(["1 lagging"]);
    at(first, CLAIM);
    expect(await judge()).toEqual({ verdict: "undecided", reason: "not_on_chain_yet" });
    expect(states.at(-1)).toBe("1 ok");
    second = await startSolanaNode();
  });

  test("one node misses what the other shows: it landed", async () => {
    at(first, beyond(200));
    at(second, beyond(200));
    second.transactions = [payment];
    expect(await judge()).toEqual(landed);
  });

  test("one that keeps up, where the claim's life is not over yet, may still show it: not absent", async () => {
    at(first, beyond(151));
    at(second, beyond(150));
    expect(await judge()).toEqual({ verdict: "undecided", reason: "not_on_chain_yet" });
  });

  test("without a known height of the claim nothing expires", async () => {
    at(first, beyond(10_000));
    at(second, beyond(10_000));
    const verdict = await judge(unknownPayment(undefined));
    expect(verdict).toEqual({ verdict: "undecided", reason: "not_on_chain_yet" });
  });
});

describe("failover", () => {
  const broken: readonly [string, (node: SolanaNode) => void | Promise<void>][] = [
    ["refuses connections", (node) => node.close()],
    ["answers 500", (node) => node.answerAll(500, "")],
    ["answers 429 with a result", (node) => node.answerAll(429, '{"jsonrpc":"2.0","id":1,"result":5}')],
    ["answers garbage", (node) => node.answerAll(200, "<html>")],
    ["does not answer in time", (node) => node.answerAll(200, undefined)],
  ];

  test.each(broken)("the first %s: the second is asked", async (_name, breakIt) => {
    await breakIt(first);
    at(second, 5_000);
    second.transactions = [payment];
    expect(await nodes.height()).toBe(5_000n);
    expect(await judge()).toEqual(landed);
    expect(await nodes.ask((node) => node.finalizedHeight())).toBe(4_968n);
    expect(states).toEqual(["1 failing"]);
    // It is known to fail, so it comes last.
    expect(faults).toEqual([]);
    first = await startSolanaNode();
  });

  test("both fail: an error, and no verdict", async () => {
    for (const node of [first, second]) node.answerAll(503, "");
    await expect(nodes.height()).rejects.toBeInstanceOf(ChainError);
    await expect(nodes.ask((node) => node.height())).rejects.toBeInstanceOf(ChainError);
    expect(await judge()).toEqual({ verdict: "undecided", reason: "chain_unavailable" });
    expect(states).toEqual(["1 failing", "2 failing"]);
  });

  test("one that failed and answers again is asked first again", async () => {
    first.fail("getBlockHeight", -32005);
    await nodes.height();
    first.answer("getBlockHeight", 932);
    await nodes.height();
    await nodes.ask((node) => node.finalizedHeight());
    expect(first.asked.filter(({ method }) => method === "getEpochInfo")).toHaveLength(1);
    expect(states).toEqual(["1 failing", "1 ok"]);
  });

  test("what is no failure of a node is thrown on", async () => {
    const wrong = new Error("a mistake of ours");
    await expect(nodes.ask(() => Promise.reject(wrong))).rejects.toBe(wrong);
  });
});
