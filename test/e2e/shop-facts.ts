import { expect } from "vitest";
import type { PaymentState } from "../../server/ledger/ledger.ts";
import { paymentId, proofOf } from "../support/buyer.ts";
import type { Shop } from "../support/shop.ts";

/** What the merchant and the upstream have seen so far. */
export interface Tally {
  readonly balance: bigint;
  readonly transfers: number;
  readonly upstreamCalls: number;
  readonly settled: number;
}

export function tally({ localnet, upstream, facilitator }: Shop): Tally {
  return {
    balance: localnet.tokenBalance(localnet.merchant),
    transfers: localnet.transfersTo(localnet.merchant).length,
    upstreamCalls: upstream.calls.length,
    settled: facilitator.calls.settle,
  };
}

/** What has come in and gone on since then. */
export function since(shop: Shop, before: Tally): Tally {
  const now = tally(shop);
  return {
    balance: now.balance - before.balance,
    transfers: now.transfers - before.transfers,
    upstreamCalls: now.upstreamCalls - before.upstreamCalls,
    settled: now.settled - before.settled,
  };
}

/** One call, sold: one transfer of exactly the price, one settlement, the upstream asked once. */
export function soldOnce(price: bigint): Tally {
  return { balance: price, transfers: 1, upstreamCalls: 1, settled: 1 };
}

/** Nothing sold, whatever the upstream did. */
export function nothingPaid(upstreamCalls: number): Tally {
  return { balance: 0n, transfers: 0, upstreamCalls, settled: 0 };
}

/** Asks the chain's RPC for the transaction that a response proves; it must be there and good. Returns its id. */
export async function provenOnChain(shop: Shop, response: Response): Promise<string> {
  const { success, transaction } = proofOf(response);
  expect(success).toBe(true);
  const config = { encoding: "base64", commitment: "confirmed", maxSupportedTransactionVersion: 0 };
  const answer = await fetch(shop.localnet.rpcUrl, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "getTransaction", params: [transaction, config] }),
  });
  const { result } = (await answer.json()) as { result: { meta: { err: unknown } } | null };
  expect(result?.meta).toMatchObject({ err: null });
  return transaction;
}

/** Waits until the ledger has this payment in this state: what follows an answer is recorded after its last byte. */
export async function reaches(
  shop: Shop,
  payment: Record<string, string>,
  state: PaymentState,
): Promise<void> {
  await expect
    .poll(async () => (await shop.gateway.ledger.payment(paymentId(payment)))?.state, {
      interval: 5,
      timeout: 8_000,
    })
    .toBe(state);
}

/** Status and `error.code` of an answer. */
export async function refusalOf(response: Response): Promise<readonly [number, unknown]> {
  const body = (await response.json()) as { error: { code?: unknown } | string };
  return [response.status, typeof body.error === "string" ? body.error : body.error.code];
}

/** A body's chunks as texts, one by one. */
export async function* chunksOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) yield decoder.decode(chunk as Uint8Array, { stream: true });
}
