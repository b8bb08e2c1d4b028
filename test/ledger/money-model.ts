import type { CaptureRequest, HoldRequest } from "../../server/ledger/call-ledger.ts";
import { asks, type Customer, callId } from "./customers.ts";
import { LEASE_MS } from "./world.ts";

export const DAY_MS = 86_400_000;

/** One call on the ledger; `which` and `amount` are taken as they fit what there is. */
export interface Action {
  readonly method:
    | "hold"
    | "again"
    | "capture"
    | "late"
    | "release"
    | "refund"
    | "renew"
    | "credit"
    | "limit";
  readonly which: number;
  readonly amount: bigint;
  /** `least` of a hold is its `most` divided by this. */
  readonly share: bigint;
  readonly idempotency: number | undefined;
}

interface ModelHold {
  readonly request: HoldRequest;
  readonly key: ModelKey | undefined;
  readonly amount: bigint;
  readonly idempotency: number | undefined;
  leaseUntil: number;
  state: "live" | "swept" | "ended";
  charged: bigint;
  shortfall: bigint;
  refunded: boolean;
}

export interface ModelKey extends Customer {
  readonly daily: boolean;
  readonly concurrency: number | undefined;
  limit: bigint | undefined;
  usage: bigint;
  spent: bigint;
  period: number;
}

interface ModelCall {
  readonly fingerprint: string;
  readonly hold: string;
  readonly expiresAt: number;
  captured: boolean;
}

/** The ledger's promises about one account, in the plainest form. Each method answers as the ledger must. */
export class MoneyModel {
  readonly account: string;
  readonly keys: readonly ModelKey[];
  readonly holds: ModelHold[] = [];
  readonly charges: bigint[] = [];
  balance = 0n;
  readonly #credits = new Map<string, bigint>();
  readonly #calls = new Map<number, ModelCall>();
  readonly #now: () => number;

  constructor(account: string, keys: readonly ModelKey[], now: () => number) {
    this.account = account;
    this.keys = keys;
    this.#now = now;
  }

  get held(): bigint {
    return sum(this.#live());
  }

  heldOf(key: ModelKey): bigint {
    return sum(this.#live(key));
  }

  spentOf(key: ModelKey): bigint {
    return this.#period(key) > key.period ? 0n : key.spent;
  }

  /** The payer: one of the keys, or the account by its token. */
  request(action: Action): HoldRequest {
    const key = this.keys[action.which % (this.keys.length + 1)];
    const { amount, share, idempotency } = action;
    const payer = key === undefined ? ({ kind: "account", account: this.account } as const) : undefined;
    return asks({ hash: key?.hash ?? "" }, 0n, {
      id: callId(),
      ...(payer === undefined ? {} : { payer }),
      range: { most: amount, least: amount / share },
      idempotency:
        idempotency === undefined
          ? undefined
          : { hash: `${this.account} ${idempotency}`, fingerprint: String(amount % 2n) },
    });
  }

  hold(request: HoldRequest, action: Action): object {
    const now = this.#now();
    const key = this.keys.find((each) => request.payer.kind === "key" && each.hash === request.payer.hash);
    const earlier = this.holds.find((hold) => hold.request.id === request.id && hold.state === "live");
    if (earlier !== undefined) {
      earlier.leaseUntil = now + request.leaseMs;
      return { outcome: "held", hold: { amount: earlier.amount } };
    }
    this.sweep();
    const call = action.idempotency === undefined ? undefined : this.#calls.get(action.idempotency);
    if (call !== undefined && call.expiresAt > now) {
      if (call.fingerprint !== request.idempotency?.fingerprint) return { outcome: "idempotency_conflict" };
      return call.captured ? { outcome: "replay" } : { outcome: "in_progress" };
    }
    if (key?.concurrency !== undefined && this.#live(key).length >= key.concurrency) {
      return { outcome: "too_many_concurrent", limit: key.concurrency };
    }
    const ofAccount = this.balance - this.held;
    const rest =
      key?.limit === undefined ? ofAccount : max(0n, key.limit - this.spentOf(key) - this.heldOf(key));
    const affordable = min(rest, ofAccount);
    if (affordable < request.range.least) {
      return { outcome: rest < ofAccount ? "key_limit_reached" : "insufficient_credits", affordable };
    }
    const amount = min(affordable, request.range.most);
    const { idempotency } = action;
    const leaseUntil = now + request.leaseMs;
    this.holds.push({
      request,
      key,
      amount,
      idempotency,
      leaseUntil,
      state: "live",
      charged: 0n,
      shortfall: 0n,
      refunded: false,
    });
    if (idempotency !== undefined) {
      this.#calls.set(idempotency, {
        fingerprint: request.idempotency?.fingerprint ?? "",
        hold: request.id,
        expiresAt: now + DAY_MS,
        captured: false,
      });
    }
    return { outcome: "held", hold: { amount } };
  }

  capture({ id, cost }: CaptureRequest): object {
    const hold = this.#find(id);
    const { charged, shortfall } = hold;
    if (hold.state === "ended") return { outcome: "repeated", charged, shortfall };
    const due = min(cost, hold.amount);
    hold.charged = hold.state === "live" ? due : min(due, this.balance - this.held);
    hold.shortfall = due - hold.charged;
    const call = hold.idempotency === undefined ? undefined : this.#calls.get(hold.idempotency);
    if (hold.state === "live" && call?.hold === id) call.captured = true;
    hold.state = "ended";
    this.balance -= hold.charged;
    if (hold.charged > 0n) this.charges.push(hold.charged);
    if (hold.key !== undefined) {
      const spent = this.spentOf(hold.key);
      hold.key.spent = spent + hold.charged;
      hold.key.period = this.#period(hold.key);
      hold.key.usage += hold.charged;
    }
    return { outcome: "captured", charged: hold.charged, shortfall: hold.shortfall };
  }

  release(id: string): string {
    const hold = this.#find(id);
    const freed = hold.state === "live";
    if (freed) this.#forget(hold);
    hold.state = "ended";
    return freed ? "released" : "gone";
  }

  refund(id: string): string {
    const hold = this.#find(id);
    if (hold.state === "ended") this.#forget(hold, true);
    else this.release(id);
    const { charged, key } = hold;
    if (charged === 0n) return "freed";
    if (!hold.refunded) {
      this.balance += charged;
      if (key !== undefined) {
        key.usage -= charged;
        key.spent = max(0n, key.spent - charged);
      }
    }
    hold.refunded = true;
    return "refunded";
  }

  renew(id: string): readonly string[] {
    const hold = this.#find(id);
    if (hold.state !== "live") return [id];
    hold.leaseUntil = this.#now() + LEASE_MS;
    return [];
  }

  credit(reference: string, amount: bigint): object {
    const earlier = this.#credits.get(reference);
    if (earlier === undefined) {
      this.#credits.set(reference, amount);
      this.balance += amount;
    }
    const repeated = earlier === amount ? "repeated" : "conflict";
    return { outcome: earlier === undefined ? "credited" : repeated, balance: this.balance };
  }

  sweep(): void {
    for (const hold of this.#live()) {
      if (hold.leaseUntil > this.#now()) continue;
      hold.state = "swept";
      this.#forget(hold);
    }
  }

  #forget({ idempotency, request }: ModelHold, evenCaptured = false): void {
    if (idempotency === undefined) return;
    const call = this.#calls.get(idempotency);
    if (call?.hold === request.id && (evenCaptured || !call.captured)) this.#calls.delete(idempotency);
  }

  #live(key?: ModelKey): readonly ModelHold[] {
    return this.holds.filter((hold) => hold.state === "live" && (key === undefined || hold.key === key));
  }

  #find(id: string): ModelHold {
    const hold = this.holds.find(({ request }) => request.id === id);
    if (hold === undefined) throw new Error("No such hold.");
    return hold;
  }

  #period(key: ModelKey): number {
    return key.daily ? Math.floor(this.#now() / DAY_MS) : 0;
  }
}

function sum(holds: readonly ModelHold[]): bigint {
  return holds.reduce((total, { amount }) => total + amount, 0n);
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
