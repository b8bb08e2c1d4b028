import type { FloodConfig } from "../config.ts";
import { createHeldBackTurns } from "../turns.ts";
import { networkOf } from "./client-address.ts";
import { createRefusalCount } from "./refusal-count.ts";

/** Counts refused credentials by client address; IPv6 by its /64, which is what one customer of a network has. */
export interface FloodGuard {
  /** Refused credentials of one address in a minute; then it is blocked. */
  readonly limit: number;
  /** 0: this address is heard. Otherwise milliseconds until it is again. */
  blockedForMs(address: string): number;
  /** One refused credential came from this address. */
  punish(address: string): void;
  /** Resolves when one more blocked address may be answered; at once when too many wait for that. */
  holdBack(): Promise<void>;
}

/** Secrets of 190 bits are not guessed, so what is not counted costs nothing but work. `maxNewAddresses` is for tests. */
export function createFloodGuard(
  config: Pick<FloodConfig, "badCredentialsPerMinute">,
  maxNewAddresses?: number,
): FloodGuard {
  const refusals = createRefusalCount(config.badCredentialsPerMinute, maxNewAddresses);
  const turns = createHeldBackTurns();
  return {
    limit: config.badCredentialsPerMinute,
    blockedForMs: (address) => refusals.blockedForMs(networkOf(address)),
    punish: (address) => void refusals.count(networkOf(address)),
    holdBack: () =>
      new Promise((resolve) => {
        if (!turns.run(resolve)) resolve();
      }),
  };
}
