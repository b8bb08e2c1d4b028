import type { Ledger } from "../ledger/ledger.ts";

/** Keeps the leases of running calls alive: one renewal for all of them, a third of a lease apart. */
export interface LeaseKeeper {
  hold(id: string, fence: number): void;
  drop(id: string): void;
  /** Calls whose lease is held now. */
  readonly size: number;
  close(): void;
}

/**
 * A renewal that fails is not retried: the lease runs out, the charge's next step is refused by its fence, and nothing is
 * served on it. `onFault` is for the log.
 */
export function createLeaseKeeper(
  ledger: Ledger,
  leaseMs: number,
  onFault: (error: unknown) => void,
): LeaseKeeper {
  const held = new Map<string, number>();
  const timer = setInterval(() => {
    if (held.size === 0) return;
    const leases = [...held].map(([id, fence]) => ({ id, fence }));
    ledger.renew(leases, leaseMs).then((lost) => {
      for (const id of lost) held.delete(id);
    }, onFault);
  }, leaseMs / 3).unref();
  return {
    hold: (id, fence) => void held.set(id, fence),
    drop: (id) => void held.delete(id),
    get size() {
      return held.size;
    },
    close: () => clearInterval(timer),
  };
}
