import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { UNRESTRICTED } from "../../server/ledger/account-ledger.ts";
import type { UsageFacts } from "../../server/ledger/call-ledger.ts";
import { hashSecret, mintKey } from "../../server/ledger/keys.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";

const DAY_MS = 86_400_000;
const DAYS = 29;
const PREFIX = "sk_farebox_";

type Ledger = Awaited<ReturnType<typeof openSqliteLedger>>;

interface Customer {
  readonly label: string;
  readonly model: string;
  /** Calls on an ordinary day. */
  readonly calls: number;
  /** MicroUsd of one. */
  readonly cost: bigint;
  readonly limit?: bigint;
  readonly rpm?: number;
  readonly expiresInDays?: number;
  readonly revoked?: boolean;
}

const KEYS: readonly Customer[] = [
  { label: "production", model: "openai/gpt-4o-mini", calls: 9, cost: 18_420n, limit: 6_000_000n },
  { label: "staging", model: "gpt-oss:20b", calls: 4, cost: 6_115n, limit: 1_000_000n, expiresInDays: 61 },
  { label: "data-pipeline", model: "vllm-primary", calls: 5, cost: 11_730n, rpm: 60 },
  { label: "ci-integration-tests", model: "gpt-oss:20b", calls: 2, cost: 2_048n, revoked: true },
];

/**
 * A month of an account's calls, written as a gateway writes them (hold, then capture) by a store whose clock is set back. Equal on
 * every run but for ids.
 */
export async function writeHistory(dataDir: string, wallet: string): Promise<void> {
  let now = Date.now() - DAYS * DAY_MS;
  const ledger = await openSqliteLedger({
    path: join(dataDir, "ledger.sqlite"),
    network: "local",
    clock: () => now,
    onFatal: (error) => {
      throw error;
    },
  });
  const account = `wallet:${wallet}`;
  await ledger.createAccount(account, wallet);
  await ledger.creditAccount(account, 25_000_000n, "invoice-2026-10");
  const keys = [];
  for (const customer of KEYS) keys.push(await createKey(ledger, account, customer));
  for (let day = 0; day <= DAYS; day += 1) {
    for (let call = 12; call > 0; call -= 1) {
      now = Date.now() - (DAYS - day) * DAY_MS - call * 61_000;
      for (const key of keys) {
        if (call <= callsOn(day, key.customer))
          await spend(ledger, { account, ...key, step: day * 7 + call });
      }
    }
  }
  now = Date.now() - DAY_MS;
  for (const { keyId, customer } of keys) if (customer.revoked === true) await ledger.revokeKey(keyId);
  await ledger.close();
}

async function createKey(ledger: Ledger, account: string, customer: Customer) {
  const { secret, last4 } = mintKey(PREFIX);
  const hash = hashSecret(secret, undefined);
  const { label, limit, rpm, expiresInDays } = customer;
  const settings = {
    ...UNRESTRICTED,
    label,
    limit,
    limitReset: limit === undefined ? ("never" as const) : ("monthly" as const),
    rpm,
    expiresAt: expiresInDays === undefined ? undefined : Date.now() + expiresInDays * DAY_MS,
  };
  const keyId = `key_${randomBytes(8).toString("hex")}`;
  await ledger.createKey(keyId, account, { hash, prefix: PREFIX, last4 }, settings, undefined);
  return { keyId, hash, customer };
}

/** Fewer at weekends, and slowly more. */
function callsOn(day: number, { calls }: Customer): number {
  const isWeekend = new Date(Date.now() - (DAYS - day) * DAY_MS).getUTCDay() % 6 === 0;
  return isWeekend ? Math.ceil(calls / 4) : calls + ((day * 5 + calls) % 4) + Math.floor(day / 9);
}

interface Spending {
  readonly account: string;
  readonly keyId: string;
  readonly hash: string;
  readonly customer: Customer;
  readonly step: number;
}

async function spend(ledger: Ledger, { account, keyId, hash, customer, step }: Spending): Promise<void> {
  const { label, model, cost: usual } = customer;
  const cost = (usual * BigInt(60 + ((step * 37) % 80))) / 100n;
  const id = randomBytes(16).toString("hex");
  const most = usual * 2n;
  const held = await ledger.hold({
    id,
    payer: { kind: "key", hash },
    permission: "chat:read",
    model,
    provider: "default",
    range: { most, least: most },
    ownKeyRange: undefined,
    leaseMs: 60_000,
    idempotency: undefined,
  });
  if (held.outcome !== "held") throw new Error(`${label} on step ${step}: ${held.outcome}`);
  const usage = usageOf({ account, keyId, label, model, held: most, step });
  if (step % 23 === 5) {
    await ledger.releaseHold(id, { ...usage, status: 502, notCharged: "handler_failed" });
    return;
  }
  await ledger.capture({
    id,
    account,
    keyId,
    cost,
    usage,
    keep: undefined,
    idempotency: undefined,
    lowBalance: undefined,
  });
}

function usageOf(facts: {
  readonly account: string;
  readonly keyId: string;
  readonly label: string;
  readonly model: string;
  readonly held: bigint;
  readonly step: number;
}): UsageFacts {
  const { account, keyId, label, model, held, step } = facts;
  return {
    tier: "key",
    account,
    keyId,
    keyLabel: label,
    payer: undefined,
    route: "POST /v1/chat/completions",
    model,
    provider: "default",
    promptTokens: 180 + ((step * 53) % 900),
    completionTokens: 40 + ((step * 29) % 400),
    estimated: step % 17 === 3,
    held,
    upstreamCost: undefined,
    status: 200,
    upstreamStatus: 200,
    ms: 400 + ((step * 71) % 1_800),
    transaction: undefined,
    notCharged: undefined,
  };
}
