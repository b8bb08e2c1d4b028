import { type Clock, systemClock } from "./clock.ts";
import type { Facilitator, SupportedKind, SupportedResult } from "./types.ts";

export interface SupportedCacheOptions {
  readonly facilitator: Pick<Facilitator, "supported">;
  /** A good answer is asked for again after this long, ms. */
  readonly maxAgeMs: number;
  /** The facilitator is not asked again within this long after an answer or a failure, ms. */
  readonly cooldownMs: number;
  readonly clock?: Clock;
}

/** What a facilitator supports, kept fresh in the background (modelled on jose's remote JWKS cache). */
export interface SupportedCache {
  /** The last good answer, however old; undefined until there was one. No I/O: for the hot path. */
  get(): readonly SupportedKind[] | undefined;
  /**
   * Asks now, unless a question is under way (its answer is shared) or the cooldown runs (the last result is returned).
   * So callers may ask whenever a payment surprises them, without burdening the facilitator.
   */
  refresh(): Promise<SupportedResult>;
  /** Why the latest question failed; undefined if it succeeded or none was answered yet. */
  failure(): string | undefined;
  /** Calls `listener` with every answer that differs from the one before, the first included. Returns the unsubscriber. */
  onChange(listener: (kinds: readonly SupportedKind[]) => void): () => void;
  /** Stops the background refresh; what is known stays readable. */
  close(): void;
}

/**
 * Starts asking at once. Recovers by itself: after a failure it asks again when the cooldown is over, after a success when
 * the answer reaches its maximum age. The last good answer serves meanwhile.
 */
export function createSupportedCache(options: SupportedCacheOptions): SupportedCache {
  const { facilitator, maxAgeMs, cooldownMs, clock = systemClock } = options;
  const listeners = new Set<(kinds: readonly SupportedKind[]) => void>();
  let kinds: readonly SupportedKind[] | undefined;
  let last: { readonly at: number; readonly result: SupportedResult } | undefined;
  let pending: Promise<SupportedResult> | undefined;
  let cancelTimer: (() => void) | undefined;
  let closed = false;

  async function ask(): Promise<SupportedResult> {
    cancelTimer?.();
    const result = await facilitator.supported();
    pending = undefined;
    last = { at: clock.now(), result };
    if (closed) return result;
    cancelTimer = clock.after(result.outcome === "ok" ? maxAgeMs : cooldownMs, () => void share());
    if (result.outcome === "ok" && !sameKinds(kinds, result.kinds)) {
      kinds = result.kinds;
      for (const listener of listeners) listener(result.kinds);
    }
    return result;
  }

  function share(): Promise<SupportedResult> {
    pending ??= ask();
    return pending;
  }

  void share();
  return {
    get: () => kinds,
    refresh: () => {
      if (pending === undefined && last !== undefined) {
        if (closed || clock.now() - last.at < cooldownMs) return Promise.resolve(last.result);
      }
      return share();
    },
    failure: () => (last?.result.outcome === "failed" ? last.result.reason : undefined),
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => {
      closed = true;
      cancelTimer?.();
    },
  };
}

function sameKinds(before: readonly SupportedKind[] | undefined, now: readonly SupportedKind[]): boolean {
  return before !== undefined && JSON.stringify(before) === JSON.stringify(now);
}
