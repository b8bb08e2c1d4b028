import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import type { ClaimOutcome, ClaimRequest, Ledger } from "../../server/ledger/ledger.ts";
import type { KeepResponse } from "../../server/ledger/sealed-response.ts";

/** Models end by their number of runs, not by time. */
export const MODEL_TIMEOUT_MS = 300_000;
export const LEASE_MS = 15_000;
export const HEIGHT = 1_000n;
/** Far above what the tests of one ledger leave behind. */
export const ALL = 100_000;

/** Opens an empty ledger on the given clock. */
export type OpenLedger = (clock: () => number) => Promise<Ledger>;

/** A ledger, and the clock it lives by, which moves only when told. */
export interface World {
  readonly ledger: Ledger;
  now(): number;
  pass(ms: number): void;
  /** How many of the runs of a model this store is given: one that is asked over a network needs more time for each. */
  readonly share: number;
}

export function createClock(): { now(): number; pass(ms: number): void } {
  let now = 1_700_000_000_000;
  return {
    now: () => now,
    pass(ms) {
      now += ms;
    },
  };
}

export function randomId(): string {
  return randomBytes(32).toString("hex");
}

/** A new payment of a new payer for a new request, unless told otherwise. */
export function request(overrides: Partial<ClaimRequest> = {}): ClaimRequest {
  return {
    id: randomId(),
    fingerprint: randomId(),
    payer: `payer-${randomBytes(8).toString("hex")}`,
    amount: 20_000n,
    assetAmount: overrides.amount ?? 20_000n,
    isTopUp: false,
    asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    payTo: "merchant",
    network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    x402Version: 2,
    route: "POST /agent",
    memo: "memo",
    feePayer: "fee-payer",
    claimHeight: HEIGHT,
    beneficiary: undefined,
    identifierHash: undefined,
    admitNew: true,
    leaseMs: LEASE_MS,
    maxInFlight: 8,
    ...overrides,
  };
}

export function keep(text: string, ttlMs = 600_000): KeepResponse {
  return { sealed: new TextEncoder().encode(text), ttlMs };
}

/** What a stored response says, or undefined if none came. */
export function said(outcome: ClaimOutcome): string | undefined {
  if (!("response" in outcome) || outcome.response === undefined) return undefined;
  return new TextDecoder().decode(outcome.response.sealed);
}

export async function claimed(ledger: Ledger, asked: ClaimRequest): Promise<number> {
  const outcome = await ledger.claim(asked);
  if (outcome.outcome !== "claimed") throw new Error(`Expected claimed, got ${outcome.outcome}.`);
  return outcome.fence;
}

/** Takes a record for the reconciler; returns its fence. */
export async function taken(ledger: Ledger, id: string): Promise<number> {
  const outcome = await ledger.takeUndecided(id, HEIGHT, LEASE_MS);
  if (outcome === "lost") throw new Error("Expected to take the record.");
  return outcome.fence;
}

/** Where a payment can stand. `parked`: settled without a lease. `taken_*`: the reconciler holds it. */
export const STANDS = [
  "open",
  "settling",
  "unknown",
  "taken_unknown",
  "settled",
  "parked",
  "delivered",
  "credited",
  "released",
  "watched",
  "taken_watched",
] as const;
export type Stand = (typeof STANDS)[number];

/** Brings a payment to a stand; returns the last fence anybody had. */
export async function bring(ledger: Ledger, asked: ClaimRequest, stand: Stand): Promise<number> {
  const { id } = asked;
  const fence = await claimed(ledger, asked);
  const ok = async (step: Promise<string>) => expect(await step).toBe("ok");
  if (stand === "open") return fence;
  if (stand === "released") {
    await ok(ledger.release(id, fence, { reason: "handler_failed", watched: false, strikeMs: 0 }));
    return fence;
  }
  await ok(ledger.beginSettle(id, fence, LEASE_MS));
  if (stand === "settling") return fence;
  if (stand === "watched" || stand === "taken_watched") {
    await ok(ledger.release(id, fence, { reason: "refused", watched: true, strikeMs: 0 }));
    return stand === "watched" ? fence : await taken(ledger, id);
  }
  if (stand === "unknown" || stand === "taken_unknown") {
    await ok(ledger.unknown(id, fence, "timeout", undefined));
    return stand === "unknown" ? fence : await taken(ledger, id);
  }
  await ok(ledger.settled(id, fence, `tx-${id}`, undefined));
  if (stand === "parked") await ok(ledger.park(id, fence, undefined));
  if (stand === "delivered") await ok(ledger.deliver(id, fence, undefined));
  if (stand === "credited") await ok(ledger.credit(id, fence, "upstream_failed"));
  return fence;
}
