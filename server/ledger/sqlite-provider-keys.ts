import type Database from "better-sqlite3";
import type { ProviderKeyRecord } from "./account-ledger.ts";
import type { Handlers } from "./sqlite-messages.ts";

/** Customers' own upstream keys, sealed. */
export function createProviderKeys(
  db: Database.Database,
): Pick<Handlers, "setProviderKey" | "deleteProviderKey" | "providerKeys"> {
  const hasAccount = db.prepare<[string], number>("SELECT 1 FROM account WHERE id = ?").pluck();
  const set = db.prepare<[string, string, string, Uint8Array, string, number]>(
    `INSERT INTO provider_key (account, provider, master_key, sealed, last4, created_at) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (account, provider) DO UPDATE SET master_key = excluded.master_key, sealed = excluded.sealed,
       last4 = excluded.last4, created_at = excluded.created_at`,
  );
  const remove = db.prepare<[string, string]>("DELETE FROM provider_key WHERE account = ? AND provider = ?");
  const list = db.prepare<[string], ProviderKeyRecord>(
    `SELECT account, provider, master_key AS masterKeyId, last4, created_at AS createdAt
     FROM provider_key WHERE account = ? ORDER BY provider`,
  );
  return {
    setProviderKey(now, account, provider, { masterKeyId, sealed, last4 }) {
      if (hasAccount.get(account) === undefined) return "not_found";
      set.run(account, provider, masterKeyId, sealed, last4, now);
      return "stored";
    },
    deleteProviderKey: (_now, account, provider) => remove.run(account, provider).changes === 1,
    providerKeys: (_now, account) => list.all(account),
  };
}
