import type { Config } from "../config.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { createProviderKeyBox, ownKeyProviders } from "../provider-keys.ts";
import { type Actions, createActions } from "./actions.ts";

/** The operator's actions as this configuration allows them, on this ledger. */
export function openActions(config: Pick<Config, "keys" | "ownKeys" | "upstreams">, ledger: Ledger): Actions {
  const { keys, ownKeys, upstreams } = config;
  const box = createProviderKeyBox(ownKeys.masterKeys);
  return createActions({
    ledger,
    prefixes: keys.prefixes,
    pepper: keys.pepper,
    seal:
      ownKeys.masterKeys.length === 0
        ? undefined
        : (account, provider, secret) => box.seal(account, provider, secret),
    providerKeyStatus: (masterKeyId) => box.statusOf(masterKeyId),
    providers: ownKeyProviders(upstreams),
    clock: Date.now,
  });
}
