import { createHash, randomBytes } from "node:crypto";
import { generateKeyPairSigner, getTransactionDecoder, type KeyPairSigner } from "@solana/kit";
import type { PaymentRequirements } from "@x402/core/types";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createHttpFacilitator } from "../../facilitator-client/http-facilitator.ts";
import type { Facilitator, FacilitatorRequest } from "../../facilitator-client/types.ts";
import { type Localnet, startLocalnet } from "../../localnet/index.ts";
import type { PaymentRecord } from "../../server/ledger/ledger.ts";
import type { Chain } from "../../server/payment/chain.ts";
import { createHeightTracker } from "../../server/payment/height-tracker.ts";
import { createRpcChain } from "../../server/payment/rpc-chain.ts";
import { type FaultyFacilitator, faults, startFaultyFacilitator } from "../support/faulty-facilitator.ts";

const PRICE = 20_000n;
const BLOCKHASH_LIFETIME = 150n;

let localnet: Localnet;
let faulty: FaultyFacilitator;
let facilitator: Facilitator;
let chain: Chain;

beforeAll(async () => {
  localnet = await startLocalnet({ rpcPort: 0, facilitatorPort: 0, slotMs: 0 });
  faulty = await startFaultyFacilitator(localnet.facilitatorUrl);
  const limits = { verifyTimeoutMs: 10_000, settleTimeoutMs: 30_000 };
  facilitator = createHttpFacilitator({ url: faulty.url, ...limits });
  chain = createRpcChain({ url: localnet.rpcUrl, timeoutMs: 10_000, asset: localnet.asset });
});
afterAll(async () => {
  await facilitator.close();
  await faulty.close();
  await localnet.close();
});

interface Payment {
  readonly request: FacilitatorRequest;
  readonly record: PaymentRecord;
  /** Base64, as signed by the payer. */
  readonly wire: string;
}

async function fundedPayer(amount = PRICE * 10n): Promise<KeyPairSigner> {
  const payer = await generateKeyPairSigner();
  await localnet.fund(payer.address, amount);
  return payer;
}

/** A payment by the official client, and its record as the paywall writes it. */
async function sign(payer: KeyPairSigner, memo?: string, feePayer = localnet.feePayer): Promise<Payment> {
  const requirements: PaymentRequirements = {
    scheme: "exact",
    network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    amount: PRICE.toString(),
    asset: localnet.asset,
    payTo: localnet.merchant,
    maxTimeoutSeconds: 60,
    extra: { feePayer, ...(memo === undefined ? {} : { memo }) },
  };
  const client = new ExactSvmScheme(payer, { rpcUrl: localnet.rpcUrl });
  const { payload } = await client.createPaymentPayload(2, requirements);
  const wire = String(payload["transaction"]);
  const { messageBytes } = getTransactionDecoder().decode(Buffer.from(wire, "base64"));
  const now = Date.now();
  const record: PaymentRecord = {
    id: createHash("sha256").update(Uint8Array.from(messageBytes)).digest("hex"),
    state: "unknown",
    fence: 1,
    fingerprint: "",
    payer: payer.address,
    amount: PRICE,
    assetAmount: PRICE,
    isTopUp: false,
    asset: localnet.asset,
    payTo: localnet.merchant,
    network: localnet.network,
    x402Version: 2,
    route: "POST /agent",
    memo: memo ?? "",
    feePayer,
    claimHeight: localnet.height(),
    beneficiary: undefined,
    transaction: undefined,
    reason: undefined,
    watched: false,
    orphaned: false,
    servings: 0,
    leased: true,
    createdAt: now,
    updatedAt: now,
  };
  const paymentPayload = { x402Version: 2, accepted: requirements, payload };
  const request: FacilitatorRequest = { x402Version: 2, paymentPayload, paymentRequirements: requirements };
  return { request, record, wire };
}

function newMemo(): string {
  return randomBytes(16).toString("hex");
}

async function send(wire: string): Promise<void> {
  const config = { encoding: "base64", skipPreflight: true };
  const response = await fetch(localnet.rpcUrl, {
    method: "POST",
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "sendTransaction", params: [wire, config] }),
  });
  expect(await response.json()).toHaveProperty("result");
}

describe("the official facilitator settles", () => {
  test.each([
    ["found by its memo", newMemo()],
    ["found by its hash", undefined],
  ])("%s, among others of the same payer", async (_name, memo) => {
    const payer = await fundedPayer();
    const payment = await sign(payer, memo);
    const before = localnet.tokenBalance(localnet.merchant);
    for (const each of [await sign(payer, newMemo()), payment, await sign(payer, newMemo())]) {
      expect(await facilitator.verify(each.request)).toEqual({ outcome: "ok", payer: payer.address });
      const settled = await facilitator.settle(each.request);
      expect(settled).toMatchObject({ outcome: "ok", payer: payer.address, network: localnet.network });
    }
    expect(localnet.tokenBalance(localnet.merchant) - before).toBe(PRICE * 3n);

    const landed = localnet.transfersTo(localnet.merchant);
    const transaction = landed.find(({ messageHash }) => messageHash === payment.record.id)?.signature;
    expect(transaction).toBeDefined();
    expect(await chain.find(payment.record)).toEqual({ found: "settled", transaction });
    expect(await chain.find({ ...payment.record, transaction })).toEqual({ found: "settled", transaction });
    const dearer = { ...payment.record, assetAmount: PRICE + 1n };
    expect(await chain.find(dearer)).toEqual({ found: "failed", transaction });
  });

  test("and says of the same payment again what may have landed", async () => {
    const payment = await sign(await fundedPayer(), newMemo());
    await facilitator.settle(payment.request);
    expect(await facilitator.settle(payment.request)).toEqual({
      outcome: "unknown",
      reason: "duplicate_settlement",
      transaction: undefined,
      replied: true,
    });
    expect(await chain.find(payment.record)).toMatchObject({ found: "settled" });
  });

  test("but not the answer arrives: the chain tells", async () => {
    const payment = await sign(await fundedPayer(), newMemo());
    faulty.fail("settle", faults.dropAfter);
    expect(await facilitator.settle(payment.request)).toMatchObject({ outcome: "unknown" });
    expect(await chain.find(payment.record)).toMatchObject({ found: "settled" });
  });

  test("later than it said: absent, then settled", async () => {
    const payment = await sign(await fundedPayer(), newMemo());
    const late = faulty.lateLanding("settle", faults.reason("transaction_failed"));
    expect(await facilitator.settle(payment.request)).toMatchObject({ outcome: "unknown" });
    expect(await chain.find(payment.record)).toEqual({ found: "absent" });
    const answer = await late.release();
    expect(JSON.parse(answer.body)).toMatchObject({ success: true });
    expect(await chain.find(payment.record)).toMatchObject({ found: "settled" });
  });
});

describe("the official facilitator refuses", () => {
  test("a wallet that was emptied since: at verify and at settle", async () => {
    const payer = await fundedPayer(PRICE);
    const [first, second] = [await sign(payer, newMemo()), await sign(payer, newMemo())];
    expect(await facilitator.settle(first.request)).toMatchObject({ outcome: "ok" });
    const refused = { outcome: "refused", reason: "invalid_exact_svm_transaction_simulation_failed" };
    expect(await facilitator.verify(second.request)).toEqual(refused);
    expect(await facilitator.settle(second.request)).toEqual(refused);
    expect(await chain.find(second.record)).toEqual({ found: "absent" });
  });

  test("a payment whose blockhash expired: absent, and the finalized height says so for good", async () => {
    const payment = await sign(await fundedPayer(), newMemo());
    const dead = (payment.record.claimHeight ?? 0n) + BLOCKHASH_LIFETIME;
    expect(await chain.finalizedHeight()).toBeLessThanOrEqual(dead);
    localnet.warp(200);
    expect(await chain.finalizedHeight()).toBeGreaterThan(dead);
    expect(await facilitator.settle(payment.request)).toMatchObject({ outcome: "refused" });
    expect(await chain.find(payment.record)).toEqual({ found: "absent" });
  });
});

test("landed and failed: it moved nothing", async () => {
  const payer = await fundedPayer(PRICE);
  const [first, second] = [
    await sign(payer, newMemo(), payer.address),
    await sign(payer, newMemo(), payer.address),
  ];
  await send(first.wire);
  await send(second.wire);
  expect(await chain.find(first.record)).toMatchObject({ found: "settled" });
  expect(await chain.find(second.record)).toMatchObject({ found: "failed" });
});

test("token accounts", async () => {
  const owner = (await generateKeyPairSigner()).address;
  const before = await chain.tokenAccount(owner, localnet.asset);
  expect(before.exists).toBe(false);
  expect(await localnet.createTokenAccount(owner)).toBe(before.address);
  expect(await chain.tokenAccount(owner, localnet.asset)).toEqual({ ...before, exists: true });
});

test("the height tracker's bound is not below the chain's height", async () => {
  const tracker = createHeightTracker({ chain, intervalMs: 60_000 });
  await tracker.poll();
  expect(await chain.height()).toBe(localnet.height());
  expect(tracker.upperBound()).toBeGreaterThanOrEqual(localnet.height());
  expect(tracker.upperBound()).toBeLessThan(localnet.height() + 100n);
  tracker.close();
});

test("/supported names the fee payer for both protocol versions", async () => {
  const { feePayer } = localnet;
  expect(await facilitator.supported()).toEqual({
    outcome: "ok",
    kinds: [
      { x402Version: 2, scheme: "exact", network: localnet.network, feePayer, signers: [feePayer] },
      { x402Version: 1, scheme: "exact", network: "solana", feePayer, signers: [feePayer] },
    ],
  });
});
