import type { CallLedger } from "../ledger/call-ledger.ts";

/** Keeps the holds of running calls alive: one renewal for all of them, a third of a lease apart. */
export interface HoldKeeper {
  /** Prolongs all of them now. Never rejects. */
  renew(): Promise<void>;
  keep(id: string): void;
  drop(id: string): void;
  /** Calls whose hold is kept now. */
  readonly size: number;
  close(): void;
}

/** A hold that is lost meanwhile changes nothing here: its capture takes what is available, and reports the shortfall. */
export function createHoldKeeper(
  ledger: Pick<CallLedger, "renewHolds">,
  leaseMs: number,
  onFault: (error: unknown) => void,
): HoldKeeper {
  const kept = new Set<string>();
  async function renew(): Promise<void> {
    if (kept.size === 0) return;
    try {
      await ledger.renewHolds([...kept], leaseMs);
    } catch (error) {
      onFault(error);
    }
  }
  const timer = setInterval(() => void renew(), leaseMs / 3).unref();
  return {
    renew,
    keep: (id) => void kept.add(id),
    drop: (id) => void kept.delete(id),
    get size() {
      return kept.size;
    },
    close: () => clearInterval(timer),
  };
}
