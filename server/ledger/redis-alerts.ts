import { z } from "zod";
import type { AccountLedger, Alert } from "./account-ledger.ts";
import { fields } from "./redis-rows.ts";
import { MAX_SHARDS } from "./redis-shards.ts";
import { type RedisStore, takeLowest } from "./redis-store.ts";

const number = z.string().transform(Number);
/** An alert as it is stored; `key` "": it is of no key. */
export const alertFields = {
  id: number,
  kind: z.enum(["key_limit_80", "key_limit_100", "low_balance"]),
  account: z.string(),
  key: z.string(),
  key_label: z.string(),
  amount: z.string().transform(BigInt),
  threshold: z.string().transform(BigInt),
  at: number,
  attempt: number,
};
const alert = z.object(alertFields);

export function toAlert({ key, key_label, ...rest }: z.output<typeof alert>): Alert {
  return {
    ...rest,
    keyId: key === "" ? undefined : key,
    keyLabel: key === "" ? undefined : key_label,
  };
}

/** What tells of alerts. An alert's id says which shard it is in. */
export function createRedisAlerts(
  store: RedisStore,
): Pick<AccountLedger, "takeAlerts" | "endAlert" | "postponeAlert"> {
  const { link } = store;
  return {
    takeAlerts: (limit, leaseMs) =>
      takeLowest(store, "alerts", { ageMs: 0, limit }, async (shard, members) => {
        const reply = await link.sweep("take-alerts", shard, leaseMs, ...members);
        return z.array(fields.pipe(alert)).parse(reply).map(toAlert);
      }),
    async endAlert(id) {
      await link.run("end-alert", id % MAX_SHARDS, id, "");
    },
    async postponeAlert(id, delayMs) {
      await link.run("end-alert", id % MAX_SHARDS, id, delayMs);
    },
  };
}
