import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";

/** Counts refusals by a key, such as a client's network, within this process: each gateway counts for itself. */
export interface RefusalCount {
  /** 0: this key is heard. Otherwise milliseconds until it is again. */
  blockedForMs(key: string): number;
  /** One refusal more. Once the promise is fulfilled, `blockedForMs` knows of it; it never rejects. */
  count(key: string): Promise<void>;
}

const WINDOW_MS = 60_000;
/**
 * New keys counted in one window. Beyond it nobody new is counted until the window ends: a flood from so many places cannot be
 * held off by place, blocking whoever is not known would block good callers, and memory has to stay bounded.
 */
const MAX_NEW_KEYS = 20_000;

/** `maxNewKeys` is for tests. */
export function createRefusalCount(perMinute: number, maxNewKeys = MAX_NEW_KEYS): RefusalCount {
  const limiter = new RateLimiterMemory({ points: perMinute, duration: WINDOW_MS / 1_000 });
  /**
   * The library answers by promise only, and the check stands in front of every call: what it refused is kept here. By the steady clock:
   * one that is set back would block for as long as it was set back.
   */
  const blockedUntil = new Map<string, number>();
  let windowEnds = 0;
  let newKeys = 0;

  function openWindow(now: number): void {
    windowEnds = now + WINDOW_MS;
    newKeys = 0;
    for (const [key, until] of blockedUntil) if (until <= now) blockedUntil.delete(key);
  }

  return {
    blockedForMs(key) {
      const until = blockedUntil.get(key);
      if (until === undefined) return 0;
      const left = until - performance.now();
      if (left > 0) return left;
      blockedUntil.delete(key);
      return 0;
    },
    async count(key) {
      const now = performance.now();
      if (now >= windowEnds) openWindow(now);
      if (newKeys >= maxNewKeys) return;
      const state = await limiter.consume(key).catch((refused: unknown) => refused);
      if (!(state instanceof RateLimiterRes)) return;
      if (state.isFirstInDuration) newKeys += 1;
      if (state.remainingPoints === 0) {
        // The library's count ends by a timer, but what it says of that end goes by the other clock.
        blockedUntil.set(key, performance.now() + Math.min(state.msBeforeNext, WINDOW_MS));
      }
    },
  };
}
