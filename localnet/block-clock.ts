import { createHash } from "node:crypto";
import { type Blockhash, blockhash, getBase58Decoder } from "@solana/kit";

export type Commitment = "processed" | "confirmed" | "finalized";

export interface BlockClockOptions {
  /** Blockhashes are derived from it, so that the window survives a restart. */
  readonly seed: Uint8Array;
  readonly startHeight: bigint;
  /** Milliseconds a slot; 0 = only `warp` advances. */
  readonly slotMs: number;
  /** A steady clock, ms; tests may set it. */
  readonly now?: () => number;
}

/**
 * Height, slot and recent blockhashes of the chain. Nothing ticks: the height is computed from the time that passed, so
 * it never lags behind a busy event loop.
 */
export interface BlockClock {
  /** Never falls. `finalized` is 32 blocks behind the newest, but not below 0. */
  height(commitment?: Commitment): bigint;
  /** Far ahead of the height, as on mainnet, where slots are skipped: code that mixes the two shows it. */
  slot(commitment?: Commitment): bigint;
  /** Whether what landed at this height counts at this commitment: everything at once, or after 32 more blocks. */
  hasReached(height: bigint, commitment: Commitment): boolean;
  slotOf(height: bigint): bigint;
  warp(blocks: number): void;
  latest(commitment?: Commitment): { readonly blockhash: Blockhash; readonly lastValidBlockHeight: bigint };
  /** Whether a transaction with this blockhash may land in the newest block, `height`: up to and including its last valid one. */
  isRecent(hash: string, height: bigint): boolean;
}

/** Blocks after which a blockhash no longer counts (MAX_PROCESSING_AGE). */
const LIFETIME_BLOCKS = 150n;
const FINALITY_BLOCKS = 32n;
/** LiteSVM's own first slot; its built-in programs count as deployed from there on. */
const SKIPPED_SLOTS = 447_552_000n;

const base58 = getBase58Decoder();

/** See {@link BlockClock}. */
export function createBlockClock(options: BlockClockOptions): BlockClock {
  const { seed, slotMs, now = () => performance.now() } = options;
  const startedAt = now();
  const heights = new Map<string, bigint>();
  let warped = 0n;
  let newest = -1n;
  remember(options.startHeight);

  function hashOf(height: bigint): Blockhash {
    const digest = createHash("sha256").update(seed).update(height.toString()).digest();
    return blockhash(base58.decode(digest));
  }

  function remember(upTo: bigint): void {
    const oldest = upTo > LIFETIME_BLOCKS ? upTo - LIFETIME_BLOCKS : 0n;
    for (const [hash, height] of heights) {
      if (height >= oldest) break;
      heights.delete(hash);
    }
    for (let height = newest + 1n > oldest ? newest + 1n : oldest; height <= upTo; height += 1n) {
      heights.set(hashOf(height), height);
    }
    newest = upTo;
  }

  function head(): bigint {
    const passed = slotMs === 0 ? 0n : BigInt(Math.floor((now() - startedAt) / slotMs));
    const height = options.startHeight + warped + passed;
    if (height > newest) remember(height);
    return newest;
  }

  function at(commitment: Commitment): bigint {
    const height = head();
    if (commitment !== "finalized") return height;
    return height > FINALITY_BLOCKS ? height - FINALITY_BLOCKS : 0n;
  }

  return {
    height: (commitment = "processed") => at(commitment),
    slot: (commitment = "processed") => at(commitment) + SKIPPED_SLOTS,
    hasReached: (height, commitment) => commitment !== "finalized" || height + FINALITY_BLOCKS <= head(),
    slotOf: (height) => height + SKIPPED_SLOTS,
    warp: (blocks) => {
      if (!Number.isSafeInteger(blocks) || blocks < 0) throw new RangeError("warp takes a count of blocks");
      warped += BigInt(blocks);
      head();
    },
    latest: (commitment = "processed") => {
      const height = at(commitment);
      return { blockhash: hashOf(height), lastValidBlockHeight: height + LIFETIME_BLOCKS };
    },
    isRecent: (hash, height) => {
      const made = heights.get(hash);
      return made !== undefined && made <= height && height <= made + LIFETIME_BLOCKS;
    },
  };
}
