import type { CallLedger } from "../ledger/call-ledger.ts";

/** Keeps the holds of running calls alive: one renewal for all of them, a third of a lease apart. */
export interface HoldKeeper {
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
  const timer = setInterval(() => {
    if (kept.size > 0) ledger.renewHolds([...kept], leaseMs).catch(onFault);
  }, leaseMs / 3).unref();
  return {
    keep: (id) => void kept.add(id),
    drop: (id) => void kept.delete(id),
    get size() {
      return kept.size;
    },
    close: () => clearInterval(timer),
  };
}
