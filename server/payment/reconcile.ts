import type { Ledger, PaymentRecord, Verdict } from "../ledger/ledger.ts";
import type { NodePool } from "./node-pool.ts";
import { judgePayment, NOT_YET } from "./verdict.ts";

const BATCH = 100;
/** Refused payments are many and cheap to make, so a sweep asks about few of them; undecided ones come first. */
const WATCHED_PER_SWEEP = 20;
/** A node may be this far behind when a record without a height is stamped with the node's. */
const NODE_LAG_BLOCKS = 20n;

/** `not_yet`: a node that keeps up does not show it, and it may still land. `undecided`: nobody could tell. */
export type Decision = "settled" | "released" | "not_yet" | "undecided";

/** Whether the payment waits on: for the chain, or for somebody who can ask it. */
export function isOpen(decision: Decision): boolean {
  return decision === "not_yet" || decision === "undecided";
}

export interface Reconciler {
  /** Asks the chain about one payment; calls for the same one share an answer. Never throws. */
  reconcile(id: string): Promise<Decision>;
  /** One round over everything undecided, watched or abandoned. Never throws. */
  sweep(): Promise<void>;
  /** Starts sweeping: now, and every `intervalMs`. */
  start(): void;
  close(): Promise<void>;
}

export interface ReconcilerOptions {
  readonly ledger: Ledger;
  /**
   * After a stall or a sleep our own calls come first: a sweep must not take what is only late to be renewed, and takes nothing
   * where this rejects. Undefined: we serve none.
   */
  readonly renewLeases?: () => Promise<void>;
  /** Undefined: no RPC is configured; nothing is ever decided. */
  readonly nodes: NodePool | undefined;
  readonly leaseMs: number;
  readonly intervalMs: number;
  /** Settled payments whose client has not come back for this long are credited. */
  readonly abandonedMs: number;
  /** A payer whose settlement came to nothing gets upfront terms for so long. */
  readonly strikeMs: number;
  readonly onDecided: (record: PaymentRecord, decision: Verdict["verdict"]) => void;
  /** How many payments waited for a verdict when a sweep began, at most {@link BATCH}. */
  readonly onBacklog: (undecided: number) => void;
  /** An abandoned payment was credited to its payer. */
  readonly onCredited: (record: PaymentRecord) => void;
  readonly onFault: (error: unknown, paymentId: string | undefined) => void;
}

/**
 * Decides payments whose outcome is unknown, by the chain alone (design: section 4, Reconcile). Single flight for each
 * record: in this process by a map, between gateways by the record's lease.
 */
export function createReconciler(options: ReconcilerOptions): Reconciler {
  const { ledger, nodes, leaseMs, onFault, renewLeases } = options;
  const running = new Map<string, Promise<Decision>>();
  let timer: NodeJS.Timeout | undefined;
  let sweeping: Promise<void> | undefined;
  let closed = false;

  function reconcile(id: string): Promise<Decision> {
    const current = running.get(id);
    if (current !== undefined) return current;
    const started = decideOne(id)
      .catch((error: unknown): Decision => {
        onFault(error, id);
        return "undecided";
      })
      .finally(() => running.delete(id));
    running.set(id, started);
    return started;
  }

  async function decideOne(id: string): Promise<Decision> {
    if (nodes === undefined) return "undecided";
    const height = (await nodes.height()) + NODE_LAG_BLOCKS;
    const taken = await ledger.takeUndecided(id, height, leaseMs);
    if (taken === "lost") return decisionOf(await ledger.payment(id));
    const verdict = await judgePayment(nodes, taken.record, (error) => onFault(error, id));
    const step = await ledger.decide(id, taken.fence, verdict, options.strikeMs);
    if (step === "lost") return decisionOf(await ledger.payment(id));
    options.onDecided(taken.record, verdict.verdict);
    if (verdict.verdict === "settled") return "settled";
    if (verdict.verdict === "absent") return "released";
    return verdict.reason === NOT_YET ? "not_yet" : "undecided";
  }

  async function sweepOnce(): Promise<void> {
    try {
      await renewLeases?.();
      const waiting = await ledger.listUndecided(BATCH);
      const isUndecided = ({ state }: PaymentRecord): boolean => state === "unknown" || state === "settling";
      const undecided = waiting.filter(isUndecided);
      const watched = waiting.filter((record) => !isUndecided(record)).slice(0, WATCHED_PER_SWEEP);
      options.onBacklog(undecided.length);
      for (const record of [...undecided, ...watched]) {
        // With a node that does not answer each of them takes its time limit, and a shutdown does not wait for all.
        if (closed) return;
        await reconcile(record.id);
      }
      // Asking the chain takes its time.
      await renewLeases?.();
      for (const record of await ledger.takeAbandoned(options.abandonedMs, leaseMs, BATCH)) {
        const step = await ledger.credit(record.id, record.fence, "not_collected");
        if (step === "ok") options.onCredited(record);
      }
      await ledger.sweepResponses();
    } catch (error) {
      onFault(error, undefined);
    }
  }

  function sweep(): Promise<void> {
    sweeping ??= sweepOnce().finally(() => {
      sweeping = undefined;
    });
    return sweeping;
  }

  return {
    reconcile,
    sweep,
    start() {
      void sweep();
      timer = setInterval(() => void sweep(), options.intervalMs).unref();
    },
    async close() {
      closed = true;
      clearInterval(timer);
      await sweeping;
      await Promise.all(running.values());
    },
  };
}

function decisionOf(record: PaymentRecord | undefined): Decision {
  if (record === undefined) return "released";
  // Refused once and watched: whoever holds it is asking the chain now.
  if (record.state === "released") return record.watched && record.leased ? "undecided" : "released";
  return record.state === "unknown" || record.state === "settling" ? "undecided" : "settled";
}
