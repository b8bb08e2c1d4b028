import { z } from "zod";
import type { AccountLedger, SealedProviderKey } from "./account-ledger.ts";
import { shardKey } from "./redis-shards.ts";
import type { RedisStore } from "./redis-store.ts";

const stored = z.object({ masterKeyId: z.string(), sealed: z.base64(), last4: z.string() });

/** Customers' own upstream keys, sealed. */
export function createRedisProviderKeys({
  link,
  shards,
}: RedisStore): Pick<AccountLedger, "setProviderKey" | "deleteProviderKey" | "providerKeys"> {
  const nameOf = (account: string) => `${shardKey(shards.ofAccount(account))}:provider_keys:${account}`;
  return {
    async setProviderKey(account, provider, { masterKeyId, sealed, last4 }) {
      const value = JSON.stringify({ masterKeyId, sealed: Buffer.from(sealed).toString("base64"), last4 });
      const reply = await link.run("set-provider-key", shards.ofAccount(account), account, provider, value);
      return z.enum(["stored", "not_found"]).parse(reply);
    },
    async deleteProviderKey(account, provider) {
      return (await link.ask((client) => client.hdel(nameOf(account), provider))) === 1;
    },
    async providerKeys(account) {
      const [keys, created] = await Promise.all(
        [nameOf(account), `${nameOf(account)}:created`].map((name) =>
          link.ask((client) => client.hgetall(name)),
        ),
      );
      const times = z.record(z.string(), z.coerce.number()).parse(created);
      return Object.entries(z.record(z.string(), z.string()).parse(keys))
        .map(([provider, value]) => {
          const { masterKeyId, last4 } = stored.parse(JSON.parse(value));
          return { account, provider, masterKeyId, last4, createdAt: times[provider] ?? 0 };
        })
        .sort((a, b) => (a.provider < b.provider ? -1 : 1));
    },
  };
}

/** As it is stored. Throws ZodError. */
export function readProviderKey(value: string): SealedProviderKey {
  const { masterKeyId, sealed, last4 } = stored.parse(JSON.parse(value));
  return { masterKeyId, sealed: Buffer.from(sealed, "base64"), last4 };
}
