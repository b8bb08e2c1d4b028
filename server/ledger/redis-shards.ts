import { crc32 } from "node:zlib";

/** Ids that a shard gives out lie this far apart, so that no two shards give the same: there may be no more shards. */
export const MAX_SHARDS = 256;
const WALLET = "wallet:";
/** Places remembered; the oldest are forgotten, and then asked for. */
const REMEMBERED = 100_000;

/**
 * The hash tags that everything is spread over. How many there are is part of every name that is stored, so it never changes. It is
 * also the most masters of a cluster that are of use; with a quarter as many the load is even.
 */
export class Shards {
  readonly all: readonly number[];

  constructor(count: number) {
    this.all = Array.from({ length: count }, (_, shard) => shard);
  }

  /** Where an account is. A payer's records are where its wallet account is, so that a credit is one step. */
  ofAccount(account: string): number {
    return this.ofPayer(account.startsWith(WALLET) ? account.slice(WALLET.length) : account);
  }

  ofPayer(payer: string): number {
    return crc32(payer) % this.all.length;
  }

  any(): number {
    return Math.floor(Math.random() * this.all.length);
  }
}

/** The first key of everything that belongs to a shard; the braces make Redis Cluster keep it in one slot. */
export function shardKey(shard: number): string {
  return `fb:{${shard}}`;
}

/** A key that every shard of this ledger has, and no other Redis. */
export function markKey(shard: number, ledger: string): string {
  return `${shardKey(shard)}:ledger:${ledger}`;
}

/**
 * Where payments, keys and holds are, by their ids. It never changes, so it is remembered by whoever saw one, and asked of all
 * shards by who did not (another gateway's payment, after a restart).
 */
export class Places {
  readonly #shards = new Map<string, number>();
  readonly #search: (id: string) => Promise<number | undefined>;

  constructor(search: (id: string) => Promise<number | undefined>) {
    this.#search = search;
  }

  /** Without asking. */
  known(id: string): number | undefined {
    return this.#shards.get(id);
  }

  remember(id: string, shard: number): void {
    this.#shards.set(id, shard);
    if (this.#shards.size <= REMEMBERED) return;
    const [oldest] = this.#shards.keys();
    if (oldest !== undefined) this.#shards.delete(oldest);
  }

  /** Asks all shards; undefined: nowhere. */
  async find(id: string): Promise<number | undefined> {
    const found = await this.#search(id);
    if (found !== undefined) this.remember(id, found);
    return found;
  }
}
