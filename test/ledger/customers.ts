import { randomBytes } from "node:crypto";
import type { KeyCreation, KeyRecord, KeySettings, NewSecret } from "../../server/ledger/account-ledger.ts";
import { UNRESTRICTED } from "../../server/ledger/account-ledger.ts";
import type {
  CaptureRequest,
  Hold,
  HoldOutcome,
  HoldRequest,
  UsageFacts,
} from "../../server/ledger/call-ledger.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { LEASE_MS, randomId } from "./world.ts";

export const SETTINGS: KeySettings = { label: "a key", ...UNRESTRICTED };

/** An account with a key. */
export interface Customer {
  readonly account: string;
  readonly keyId: string;
  /** Of the key's first secret. */
  readonly hash: string;
}

export function secret(): NewSecret {
  return { hash: randomId(), prefix: "sk_farebox_", last4: randomBytes(2).toString("hex") };
}

export function newId(kind: "acct" | "key"): string {
  return `${kind}_${randomBytes(8).toString("hex")}`;
}

/** The id of a hold. */
export function callId(): string {
  return randomBytes(16).toString("hex");
}

export async function account(ledger: Ledger, balance: bigint): Promise<string> {
  const id = newId("acct");
  await ledger.createAccount(id, "a customer");
  if (balance > 0n) await ledger.creditAccount(id, balance, "first");
  return id;
}

/** A new account with this balance, and a key without restrictions unless told otherwise. */
export async function customer(
  ledger: Ledger,
  balance: bigint,
  settings: Partial<KeySettings> = {},
): Promise<Customer> {
  const id = await account(ledger, balance);
  return anotherKey(ledger, id, settings);
}

export async function anotherKey(
  ledger: Ledger,
  owner: string,
  settings: Partial<KeySettings> = {},
): Promise<Customer> {
  const [keyId, made] = [newId("key"), secret()];
  keyOf(await ledger.createKey(keyId, owner, made, { ...SETTINGS, ...settings }, undefined));
  return { account: owner, keyId, hash: made.hash };
}

export function keyOf(creation: KeyCreation): KeyRecord {
  if (!("key" in creation)) throw new Error(`Expected a key, got ${creation.outcome}.`);
  return creation.key;
}

/** A call that costs exactly this at most. */
export function asks(
  { hash }: Pick<Customer, "hash">,
  amount: bigint,
  overrides: Partial<HoldRequest> = {},
): HoldRequest {
  return {
    id: callId(),
    payer: { kind: "key", hash },
    permission: "chat:read",
    model: "openai/gpt-4o-mini",
    provider: "openai",
    range: { most: amount, least: amount },
    ownKeyRange: undefined,
    leaseMs: LEASE_MS,
    idempotency: undefined,
    ...overrides,
  };
}

export function holdIn(outcome: HoldOutcome): Hold {
  if (outcome.outcome !== "held") throw new Error(`Expected held, got ${outcome.outcome}.`);
  return outcome.hold;
}

export async function held(
  ledger: Ledger,
  payer: Pick<Customer, "hash">,
  amount: bigint,
  overrides: Partial<HoldRequest> = {},
): Promise<Hold> {
  return holdIn(await ledger.hold(asks(payer, amount, overrides)));
}

export function usageOf(hold: Hold, overrides: Partial<UsageFacts> = {}): UsageFacts {
  return {
    tier: "key",
    account: hold.account,
    keyId: hold.keyId,
    keyLabel: hold.keyLabel,
    payer: undefined,
    route: "POST /v1/chat/completions",
    model: "openai/gpt-4o-mini",
    provider: "openai",
    promptTokens: 11,
    completionTokens: 7,
    estimated: false,
    held: hold.amount,
    upstreamCost: undefined,
    status: 200,
    upstreamStatus: 418,
    ms: 12,
    transaction: undefined,
    notCharged: undefined,
    ...overrides,
  };
}

export function captures(hold: Hold, cost: bigint, overrides: Partial<CaptureRequest> = {}): CaptureRequest {
  const usage = usageOf(hold);
  return {
    id: hold.id,
    account: hold.account,
    keyId: hold.keyId,
    cost,
    usage,
    keep: undefined,
    lowBalance: undefined,
    idempotency: undefined,
    ...overrides,
  };
}

/** A whole call: held and captured at its cost. */
export async function spend(
  ledger: Ledger,
  payer: Pick<Customer, "hash">,
  cost: bigint,
  overrides: Partial<CaptureRequest> = {},
): Promise<void> {
  const hold = await held(ledger, payer, cost);
  await ledger.capture(captures(hold, cost, overrides));
}

/** `balance` and `held` of an account. */
export async function purse(ledger: Ledger, id: string): Promise<{ balance: bigint; held: bigint }> {
  const found = await ledger.account(id);
  if (found === undefined) throw new Error("No such account.");
  return { balance: found.balance, held: found.held };
}

/** How many of each outcome there were. */
export function tally(outcomes: readonly { readonly outcome: string }[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outcome } of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}
