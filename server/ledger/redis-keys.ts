import { z } from "zod";
import type { AccountLedger, KeyCreation, KeyRecord, KeySettings } from "./account-ledger.ts";
import { readAccount, readKey, rowAndTime, rowsAndTime } from "./redis-rows.ts";
import { onShards, type RedisStore } from "./redis-store.ts";

const creation = z.tuple([
  z.enum(["created", "repeated", "conflict", "not_found", "not_active"]),
  z.array(z.string()).nullable(),
  z.number(),
]);
const bySecret = z.tuple([z.array(z.string()), z.array(z.string()), z.number()]).nullable();

/** In one slot with the ledger's stamp (redis-start.ts). */
const PEPPER = "fb:pepper:{fb:ledger}";

/** Keys: made, shown, changed, rotated, revoked. A key is where its account is. */
export function createRedisKeys(
  store: RedisStore,
  homes: KeyHomes,
): Pick<
  AccountLedger,
  | "createKey"
  | "keys"
  | "key"
  | "keyBySecret"
  | "revokeKey"
  | "rotateKey"
  | "changeKey"
  | "pepperMark"
  | "setPepperMark"
> {
  const { link, shards, keys } = store;

  async function one(script: string, id: string, ...args: readonly string[]): Promise<KeyRecord | undefined> {
    const shard = keys.known(id) ?? (await keys.find(id));
    if (shard === undefined) return undefined;
    const reply = rowAndTime.parse(await link.run(script, shard, id, ...args));
    return reply === undefined ? undefined : readKey(...reply);
  }

  return {
    async createKey(id, account, { hash, prefix, last4 }, settings, repeatable) {
      await homes.set(hash, account);
      const shard = shards.ofAccount(account);
      keys.remember(id, shard);
      const wish = [repeatable?.hash ?? "", repeatable?.fingerprint ?? ""];
      const words = [id, account, hash, prefix, last4, ...wish, ...settingsOf(settings)];
      return made(await link.run("create-key", shard, ...words));
    },
    async keys(account) {
      const listed = async (shard: number) => {
        const [rows, now] = rowsAndTime.parse(await link.sweep("list-keys", shard, account ?? ""));
        return rows.map((row) => readKey(row, now)).toReversed();
      };
      if (account !== undefined) return listed(shards.ofAccount(account));
      return (await onShards(shards, listed)).flat().sort((a, b) => b.createdAt - a.createdAt);
    },
    key: (id) => one("read-key", id),
    async keyBySecret(hash) {
      const account = homes.known(hash) ?? (await homes.find(hash));
      if (account === undefined) return "unknown";
      const found = bySecret.parse(await link.run("read-key-by-secret", shards.ofAccount(account), hash));
      if (found === null) return "unknown";
      return { key: readKey(found[0], found[2]), account: readAccount(found[1]) };
    },
    revokeKey: (id) => one("revoke-key", id),
    async rotateKey(id, { hash, prefix, last4 }, graceMs, repeatable) {
      const key = await one("read-key", id);
      if (key === undefined) return { outcome: "not_found" };
      await homes.set(hash, key.account);
      const wish = [repeatable?.hash ?? "", repeatable?.fingerprint ?? ""];
      const words = [id, hash, prefix, last4, graceMs, ...wish];
      return made(await link.run("rotate-key", shards.ofAccount(key.account), ...words));
    },
    changeKey: (id, change) => one("change-key", id, ...settingsOf(change)),
    async pepperMark() {
      return (
        z
          .string()
          .nullable()
          .parse(await link.ask((client) => client.get(PEPPER))) ?? undefined
      );
    },
    async setPepperMark(mark) {
      await link.ask((client) => client.set(PEPPER, mark));
    },
  };
}

function made(reply: unknown): KeyCreation {
  const [outcome, row, now] = creation.parse(reply);
  if (outcome === "created" || outcome === "repeated") return { outcome, key: readKey(row, now) };
  return { outcome };
}

/** Names and values of the settings that are given; "" stands for no restriction. */
function settingsOf(settings: Partial<KeySettings>): readonly string[] {
  const words: string[] = [];
  const set = (name: string, value: unknown) => words.push(name, value === undefined ? "" : String(value));
  const list = (value: readonly string[] | undefined) =>
    value === undefined ? undefined : JSON.stringify(value);
  if ("label" in settings) set("label", settings.label);
  if ("permissions" in settings) set("permissions", list(settings.permissions));
  if ("models" in settings) set("models", list(settings.models));
  if ("providers" in settings) set("providers", list(settings.providers));
  if ("limit" in settings) {
    const { limit } = settings;
    set("spend_limit", limit);
    // The least that is 80 % of it.
    set("limit_80", limit === undefined ? undefined : (limit * 80n + 99n) / 100n);
  }
  if ("limitReset" in settings) set("limit_reset", settings.limitReset);
  if ("rpm" in settings) set("rpm", settings.rpm);
  if ("concurrency" in settings) set("concurrency", settings.concurrency);
  if ("expiresAt" in settings) set("expires_at", settings.expiresAt);
  return words;
}

/**
 * Which account a key's secret belongs to, by the secret's hash. Written before the key is, so that a key that exists can always be
 * found; one that points at no key is harmless. It never changes and is remembered: whether the key is still good is asked in
 * the step itself.
 */
export class KeyHomes {
  readonly #known = new Map<string, string>();
  readonly #link: RedisStore["link"];

  constructor(link: RedisStore["link"]) {
    this.#link = link;
  }

  async set(hash: string, account: string): Promise<void> {
    await this.#link.ask((client) => client.set(nameOf(hash), account));
    this.#remember(hash, account);
  }

  /** Without asking. */
  known(hash: string): string | undefined {
    return this.#known.get(hash);
  }

  /** Undefined: no key was ever made with this secret. */
  async find(hash: string): Promise<string | undefined> {
    const reply = await this.#link.ask((client) => client.get(nameOf(hash)));
    const account = z.string().nullable().parse(reply);
    if (account === null) {
      // In a Redis that lost everything no key is known: that is no reason to call one invalid.
      await this.#link.run("look", 0);
      return undefined;
    }
    this.#remember(hash, account);
    return account;
  }

  #remember(hash: string, account: string): void {
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    this.#known.set(hash, account);
  }
}

const REMEMBERED = 100_000;

function nameOf(hash: string): string {
  return `fb:home:${hash}`;
}
