import ipaddr from "ipaddr.js";
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import type { FloodConfig } from "../config.ts";

/** Counts refused credentials by client address; IPv6 by its /64, which is what one customer of a network has. */
export interface FloodGuard {
  /** 0: this address is heard. Otherwise milliseconds until it is again. */
  blockedForMs(address: string): number;
  /** One refused credential came from this address. */
  punish(address: string): void;
}

const WINDOW_MS = 60_000;
/**
 * New addresses counted in one window. Beyond it nobody is counted until the window ends: a flood from so many places cannot
 * be held off by address, secrets of 190 bits are not guessed, and memory has to stay bounded.
 */
const MAX_NEW_ADDRESSES = 20_000;

/** Within this process: each gateway counts for itself. `maxNewAddresses` is for tests. */
export function createFloodGuard(
  config: Pick<FloodConfig, "badCredentialsPerMinute">,
  maxNewAddresses = MAX_NEW_ADDRESSES,
): FloodGuard {
  const limiter = new RateLimiterMemory({
    points: config.badCredentialsPerMinute,
    duration: WINDOW_MS / 1_000,
  });
  /** The library answers by promise only, and the check stands in front of every call: what it refused is kept here. */
  const blockedUntil = new Map<string, number>();
  let windowEnds = 0;
  let newAddresses = 0;

  function openWindow(now: number): void {
    windowEnds = now + WINDOW_MS;
    newAddresses = 0;
    for (const [network, until] of blockedUntil) if (until <= now) blockedUntil.delete(network);
  }

  async function count(network: string): Promise<void> {
    const state = await limiter.consume(network).catch((refused: unknown) => refused);
    if (!(state instanceof RateLimiterRes)) return;
    if (state.isFirstInDuration) newAddresses += 1;
    if (state.remainingPoints === 0) blockedUntil.set(network, Date.now() + state.msBeforeNext);
  }

  return {
    blockedForMs(address) {
      if (blockedUntil.size === 0) return 0;
      const network = networkOf(address);
      const until = blockedUntil.get(network);
      if (until === undefined) return 0;
      const left = until - Date.now();
      if (left > 0) return left;
      blockedUntil.delete(network);
      return 0;
    },
    punish(address) {
      const now = Date.now();
      if (now >= windowEnds) openWindow(now);
      if (newAddresses < maxNewAddresses) void count(networkOf(address));
    },
  };
}

function networkOf(address: string): string {
  if (!address.includes(":") || !ipaddr.IPv6.isValid(address)) return address;
  return ipaddr.IPv6.parse(address)
    .parts.slice(0, 4)
    .map((part) => part.toString(16))
    .join(":");
}
