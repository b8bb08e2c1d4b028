import { join } from "node:path";
import type { PaymentPayload, PaymentRequirements } from "@x402/core/types";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { expect } from "vitest";
import { createHttpFacilitator } from "../../facilitator-client/http-facilitator.ts";
import { type ChainCheckOptions, checkChain } from "../../server/chain-check/check-chain.ts";
import type { ChainReport } from "../../server/chain-check/report.ts";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import type { ClaimRequest } from "../../server/ledger/ledger.ts";
import { createNodePool, type NodePool } from "../../server/payment/node-pool.ts";
import { createRpcChain } from "../../server/payment/rpc-chain.ts";
import { decodePayment } from "../../server/payment/transaction.ts";
import type { Sale } from "../faults/audit.ts";
import { type Buyer, payloadOf, termsOf } from "../support/buyer.ts";
import type { Shop } from "../support/shop.ts";

/** Finality is behind by fewer blocks than this. */
export const FINALITY = 40;
/** A run is told that this much time has passed: transfers are no longer recent. */
const LATER_MS = 300_000;

/** Nodes over these URLs, as the command line makes them. */
export function nodesAt(shop: Shop, ...urls: readonly string[]): NodePool {
  const { asset } = shop.localnet;
  const nodes = urls.map((url) => createRpcChain({ url, timeoutMs: 5_000, asset }));
  return createNodePool({ nodes, onState: () => {} });
}

/** Compares a shop's ledger with its chain, some minutes from now. */
export function checkShop(
  shop: Shop,
  options: Partial<ChainCheckOptions> = {},
  blocks = FINALITY,
): Promise<ChainReport> {
  const { localnet, gateway } = shop;
  if (blocks > 0) localnet.warp(blocks);
  return checkChain({
    ledger: gateway.ledger,
    nodes: nodesAt(shop, localnet.rpcUrl),
    asset: localnet.asset,
    network: localnet.network,
    payTo: localnet.merchant,
    otherAssets: shop.config.topUpTokens.map(({ mint }) => mint),
    since: undefined,
    credit: false,
    reconcile: (id) => gateway.payments.reconciler.reconcile(id),
    now: () => Date.now() + LATER_MS,
    onProgress: () => {},
    ...options,
  });
}

/** Settles a signed payment at the facilitator, without presenting it to the shop. */
export async function settleElsewhere(shop: Shop, sale: Pick<Sale, "payment">): Promise<void> {
  const limits = { verifyTimeoutMs: 10_000, settleTimeoutMs: 30_000 };
  const facilitator = createHttpFacilitator({ url: shop.localnet.facilitatorUrl, ...limits });
  const payload = payloadOf(sale.payment) as unknown as PaymentPayload;
  const settled = await facilitator.settle({
    x402Version: 2,
    paymentPayload: payload,
    paymentRequirements: payload.accepted,
  });
  expect(settled).toMatchObject({ outcome: "ok" });
  await facilitator.close();
}

/** Builds a transfer from a 402's terms that pays its own fee, and sends it to the chain. */
export async function sendByHand(shop: Shop, buyer: Buyer): Promise<void> {
  const response = await fetch(`${shop.url}/agent`, { method: "POST" });
  const [offered] = termsOf(response).accepts as unknown as PaymentRequirements[];
  if (offered === undefined) throw new Error("no terms");
  const terms = { ...offered, extra: { ...offered.extra, feePayer: buyer.address } };
  const scheme = new ExactSvmScheme(buyer.signer, { rpcUrl: shop.localnet.rpcUrl });
  const { payload } = await scheme.createPaymentPayload(2, terms);
  const params = [payload["transaction"], { encoding: "base64", skipPreflight: true }];
  const sent = await fetch(shop.localnet.rpcUrl, {
    method: "POST",
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "sendTransaction", params }),
  });
  expect(await sent.json()).toHaveProperty("result");
}

/** A claim of this payment, as a gateway would make it. */
export function claimOf(shop: Shop, sale: Pick<Sale, "payment">): ClaimRequest {
  const decoded = decodePayment(payloadOf(sale.payment).payload.transaction);
  if (!decoded.ok) throw new Error(decoded.problem);
  const { id, payer, amount, asset, memo, feePayer } = decoded.payment;
  return {
    ...{
      id,
      payer,
      amount,
      asset,
      assetAmount: amount,
      isTopUp: false,
      memo,
      feePayer,
      fingerprint: "f".repeat(64),
    },
    ...{ payTo: shop.localnet.merchant, network: shop.localnet.network, x402Version: 2 },
    ...{ route: "POST /agent", claimHeight: shop.localnet.height(), identifierHash: undefined },
    beneficiary: undefined,
    ...{ admitNew: true, leaseMs: 60_000, maxInFlight: 8 },
  };
}

/** Writes into the ledger's file behind its back. */
export function alter(shop: Shop, sql: string, ...values: readonly unknown[]): void {
  const db = openLasting(join(shop.dataDir, "ledger.sqlite"));
  try {
    expect(db.prepare(sql).run(...values).changes).toBe(1);
  } finally {
    db.close();
  }
}

/** Everything the ledger's file says of payments and money. */
export function dump(shop: Shop): unknown {
  const db = openLasting(join(shop.dataDir, "ledger.sqlite"), { readonly: true });
  try {
    return ["payment", "journal", "account"].map((name) => db.prepare(`SELECT * FROM ${name}`).all());
  } finally {
    db.close();
  }
}
