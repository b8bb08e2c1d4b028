import { type Clock, systemClock } from "../../facilitator-client/clock.ts";
import type { Chain } from "./chain.ts";

export interface HeightTrackerOptions {
  readonly chain: Pick<Chain, "height">;
  /** From one answer (or failure) to the next question, ms. */
  readonly intervalMs: number;
  readonly clock?: Clock;
}

/** An upper bound of the chain's block height, known without I/O. */
export interface HeightTracker {
  /**
   * Never below the true height at this moment: a payment is declared absent only beyond its claim's height + 150, and a
   * bound too low would declare it too early. Undefined if the last good answer is older than 60 s, or there is none.
   */
  upperBound(): bigint | undefined;
  /** Asks now; shares a question under way. Never rejects. */
  poll(): Promise<void>;
  close(): void;
}

/** Blocks come every 400 ms or slower; 350 leaves room for the clock. */
const FASTEST_BLOCK_MS = 350;
const STALE_MS = 60_000;
/** The node may be this many blocks behind the cluster (about 8 s) without our bound being too low. */
const NODE_LAG_BLOCKS = 20n;

interface Sample {
  readonly height: bigint;
  /** When the question was asked: the height was read no earlier, so the age is never too small. */
  readonly askedAt: number;
  readonly askedAtWall: number;
}

/**
 * Polls `chain.height()` in the background. A height below the last one comes from a node that lags and is ignored
 * while the last one is fresh.
 */
export function createHeightTracker(options: HeightTrackerOptions): HeightTracker {
  const { chain, intervalMs, clock = systemClock } = options;
  let sample: Sample | undefined;
  let pending: Promise<void> | undefined;
  let cancelTimer: (() => void) | undefined;
  let closed = false;

  /** The larger of two clocks: the steady one stands still while a machine sleeps, the other may be set back. */
  function ageMs(of: Sample): number {
    return Math.max(0, clock.now() - of.askedAt, clock.wall() - of.askedAtWall);
  }

  function fresh(): Sample | undefined {
    return sample !== undefined && ageMs(sample) <= STALE_MS ? sample : undefined;
  }

  async function ask(): Promise<void> {
    cancelTimer?.();
    const askedAt = clock.now();
    const askedAtWall = clock.wall();
    try {
      const height = await chain.height();
      const known = fresh();
      if (known === undefined || height >= known.height) sample = { height, askedAt, askedAtWall };
    } catch {
      // The sample grows old, which is what tells the caller.
    }
    pending = undefined;
    if (!closed) cancelTimer = clock.after(intervalMs, () => void poll());
  }

  function poll(): Promise<void> {
    pending ??= ask();
    return pending;
  }

  void poll();
  return {
    upperBound: () => {
      const known = fresh();
      if (known === undefined) return undefined;
      return known.height + BigInt(Math.ceil(ageMs(known) / FASTEST_BLOCK_MS)) + NODE_LAG_BLOCKS;
    },
    poll,
    close: () => {
      closed = true;
      cancelTimer?.();
    },
  };
}
