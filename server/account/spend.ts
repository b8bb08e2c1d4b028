import { z } from "zod";
import type { Answer } from "../admin/action-parts.ts";
import { parse } from "../admin/inputs.ts";
import { money } from "../admin/views.ts";
import { integer } from "../config-values.ts";
import type { CallLedger, UsageRecord } from "../ledger/call-ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { Route } from "../routes.ts";
import { accountOf } from "./own-account.ts";

export interface SpendParts {
  readonly ledger: Pick<CallLedger, "usage">;
  /** What is sold now: a payment for credit moves money and spends none. */
  readonly routes: readonly Pick<Route, "method" | "path" | "target">[];
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** What a wallet's calls cost, by day, model and key. Throws `invalid_request`. */
export type Spend = (wallet: string, query: unknown) => Promise<Answer>;

const DAY_MS = 86_400_000;
const PAGE = 1_000;
/** Beyond it the answer says that it is not complete: a page must not read a ledger for minutes. */
const MOST_RECORDS = 20_000;

const spendQuery = z.strictObject({ days: integer(1, 90).default(30) });

/** Sums of a group of calls, MicroUsd: what the balance bore, and what the wallet paid call by call. */
interface Sums {
  charged: MicroUsd;
  paid: MicroUsd;
  calls: number;
}

/** Sums usage records, newest first; the days are UTC's, the last one is today's. */
export function createSpend({ ledger, routes, clock }: SpendParts): Spend {
  const credits = new Set(
    routes.filter(({ target }) => target.kind === "credit").map(({ method, path }) => `${method} ${path}`),
  );

  return async (wallet, query) => {
    const { days } = parse(spendQuery, query);
    const today = Math.floor(clock() / DAY_MS);
    const first = today - days + 1;
    const { records, complete } = await readUsage(ledger, accountOf(wallet), first * DAY_MS);
    const calls = records.filter(({ tier, route }) => tier !== "x402" || !credits.has(route));
    // The store's clock may be ahead of ours, over midnight.
    const dayOf = ({ at }: UsageRecord) => Math.min(Math.floor(at / DAY_MS), today);
    const byDay = sumBy(calls, dayOf);
    const labels = new Map(calls.toReversed().map(({ keyId, keyLabel }) => [keyId, keyLabel]));
    const everyDay = Array.from({ length: days }, (_, index) => first + index);
    return {
      from: dateOf(first),
      to: dateOf(today),
      today: view(byDay.get(today)),
      days: everyDay.map((day) => ({ date: dateOf(day), ...view(byDay.get(day)) })),
      models: dearestFirst(sumBy(calls, ({ model }) => model)).map(([model, sums]) => ({
        model: model ?? null,
        ...view(sums),
      })),
      keys: dearestFirst(sumBy(calls, ({ keyId }) => keyId)).map(([keyId, sums]) => ({
        key_id: keyId ?? null,
        key_label: labels.get(keyId) ?? null,
        ...view(sums),
      })),
      complete,
    };
  };
}

async function readUsage(
  ledger: Pick<CallLedger, "usage">,
  account: string,
  since: number,
): Promise<{ readonly records: readonly UsageRecord[]; readonly complete: boolean }> {
  const records: UsageRecord[] = [];
  for (let before: number | undefined; ; before = records.at(-1)?.id) {
    // One more than are counted tells whether there are more.
    const limit = Math.min(PAGE, MOST_RECORDS + 1 - records.length);
    const page = await ledger.usage({ account, since, before, limit });
    records.push(...page);
    if (records.length > MOST_RECORDS) return { records: records.slice(0, MOST_RECORDS), complete: false };
    if (page.length < limit) return { records, complete: true };
  }
}

function sumBy<Group>(
  records: readonly UsageRecord[],
  groupOf: (record: UsageRecord) => Group,
): ReadonlyMap<Group, Sums> {
  const groups = new Map<Group, Sums>();
  for (const record of records) {
    const group = groupOf(record);
    const sums = groups.get(group) ?? { charged: 0n, paid: 0n, calls: 0 };
    if (record.tier === "x402") sums.paid += record.charged;
    else sums.charged += record.charged;
    sums.calls += 1;
    groups.set(group, sums);
  }
  return groups;
}

/** Equal ones by name, so that two answers do not differ by chance. */
function dearestFirst(
  groups: ReadonlyMap<string | undefined, Sums>,
): readonly (readonly [string | undefined, Sums])[] {
  const total = ({ charged, paid }: Sums) => charged + paid;
  return [...groups].sort(([nameA = "", a], [nameB = "", b]) => {
    if (total(a) !== total(b)) return total(a) < total(b) ? 1 : -1;
    return nameA < nameB ? -1 : 1;
  });
}

function view(sums: Sums | undefined): Answer {
  const { charged, paid, calls } = sums ?? { charged: 0n, paid: 0n, calls: 0 };
  return { ...money("charged", charged), ...money("paid", paid), calls };
}

function dateOf(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}
