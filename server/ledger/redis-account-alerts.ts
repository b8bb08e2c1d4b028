import { z } from "zod";
import { type AccountAlertLedger, type AlertSettings, DELIVERIES } from "./account-alerts.ts";
import { alertFields, toAlert } from "./redis-alerts.ts";
import { fields } from "./redis-rows.ts";
import { MAX_SHARDS, shardKey } from "./redis-shards.ts";
import { type RedisStore, takeLowest } from "./redis-store.ts";

const flag = z.enum(["0", "1"]).transform((value) => value === "1");
const base64 = z.string().transform((value) => Buffer.from(value, "base64"));
const settings = z.object({
  low_balance: z.string(),
  key_80: flag,
  key_100: flag,
  url: z.string(),
  master_key: z.string(),
  sealed: base64,
  webhook_at: z.string(),
  failures: z.coerce.number(),
});
const recorded = fields.pipe(z.object({ ...alertFields, delivery: z.enum(DELIVERIES) }));
const due = z.tuple([fields.pipe(z.object(alertFields)), z.string(), z.string(), base64]);

/** Alerts that accounts ask for themselves. An alert's id says which shard it is in; it is its account's. */
export function createRedisAccountAlerts(store: RedisStore): AccountAlertLedger {
  const { link, shards } = store;
  const settingsOf = (account: string) => `${shardKey(shards.ofAccount(account))}:alert_settings:${account}`;
  return {
    async setAlertSettings(account, { lowBalance, keyLimit80, keyLimit100 }, webhook) {
      const wishes = [
        lowBalance === undefined ? "" : String(lowBalance),
        keyLimit80 ? 1 : 0,
        keyLimit100 ? 1 : 0,
      ];
      const where =
        typeof webhook === "string"
          ? [webhook, "", "", ""]
          : ["set", webhook.url, webhook.masterKeyId, Buffer.from(webhook.sealed).toString("base64")];
      const shard = shards.ofAccount(account);
      const reply = await link.run("set-alert-settings", shard, account, ...wishes, ...where);
      return z.enum(["stored", "not_found"]).parse(reply);
    },
    async alertSettings(account) {
      const reply = await link.ask((client) => client.hgetall(settingsOf(account)));
      const found = z.record(z.string(), z.string()).parse(reply);
      return Object.keys(found).length === 0 ? undefined : readSettings(found);
    },
    deleteAlertSettings: async (account) =>
      (await link.ask((client) => client.del(settingsOf(account)))) === 1,
    async replaceAlertSecret(account, { masterKeyId, sealed }) {
      const secret = [masterKeyId, Buffer.from(sealed).toString("base64")];
      const reply = await link.run("replace-alert-secret", shards.ofAccount(account), account, ...secret);
      return z.number().parse(reply) === 1;
    },
    async resumeAlerts(account) {
      await link.run("resume-alerts", shards.ofAccount(account), account);
    },
    async accountAlerts(account) {
      const reply = await link.run("list-account-alerts", shards.ofAccount(account), account);
      return z
        .array(recorded)
        .parse(reply)
        .map(({ delivery, ...row }) => {
          const { attempt: _attempt, ...alert } = toAlert(row);
          return { ...alert, delivery };
        });
    },
    takeAccountAlerts: (limit, leaseMs) =>
      takeLowest(store, "account_alert_turns", { ageMs: 0, limit }, async (shard, accounts) => {
        const reply = await link.sweep("take-account-alerts", shard, leaseMs, ...accounts);
        return z
          .array(due)
          .parse(reply)
          .map(([row, url, masterKeyId, sealed]) => ({
            ...toAlert(row),
            webhook: { url, masterKeyId, sealed },
          }));
      }),
    async endAccountAlert(id, outcome) {
      await link.run("end-account-alert", id % MAX_SHARDS, id, outcome, "");
    },
    async postponeAccountAlert(id, delayMs) {
      await link.run("end-account-alert", id % MAX_SHARDS, id, "", delayMs);
    },
  };
}

function readSettings(found: Readonly<Record<string, string>>): AlertSettings {
  const { low_balance, key_80, key_100, url, master_key, sealed, webhook_at, failures } =
    settings.parse(found);
  return {
    lowBalance: low_balance === "" ? undefined : BigInt(low_balance),
    keyLimit80: key_80,
    keyLimit100: key_100,
    webhook:
      url === ""
        ? undefined
        : { url, masterKeyId: master_key, sealed, createdAt: Number(webhook_at), failures },
  };
}
