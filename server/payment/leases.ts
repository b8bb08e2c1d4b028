import type { Ledger } from "../ledger/ledger.ts";

/** Keeps the leases of running calls alive: one renewal for all of them, a third of a lease apart. */
export interface LeaseKeeper {
  /** Prolongs all of them now. Rejects when the ledger fails: then it is not known whether they are. */
  renew(): Promise<void>;
  hold(id: string, fence: number): void;
  /** Only this fence: a call that ended late must not let go of its successor's lease. */
  drop(id: string, fence: number): void;
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
  const drop = (id: string, fence: number): void => {
    if (held.get(id) === fence) held.delete(id);
  };
  async function renew(): Promise<void> {
    if (held.size === 0) return;
    const leases = [...held].map(([id, fence]) => ({ id, fence }));
    const lost = await ledger.renew(leases, leaseMs);
    for (const { id, fence } of leases) if (lost.includes(id)) drop(id, fence);
  }
  const timer = setInterval(() => void renew().catch(onFault), leaseMs / 3).unref();
  return {
    renew,
    hold: (id, fence) => void held.set(id, fence),
    drop,
    get size() {
      return held.size;
    },
    close: () => clearInterval(timer),
  };
}
