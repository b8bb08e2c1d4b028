import type { CallLedger, Hold, HoldRequest, UsageFacts } from "../ledger/call-ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { Capture, Charge, ChargeReceipt, Release, SettleResult, StoredResponse } from "./charge.ts";
import type { HoldKeeper } from "./holds.ts";
import { tryLastStep } from "./last-step.ts";
import { sealResponse } from "./response-store.ts";
import type { Sale, SaleReading } from "./sale.ts";

export interface KeyChargeParts {
  readonly ledger: CallLedger;
  readonly holds: HoldKeeper;
  readonly storeTtlMs: number;
  /** An account below this is low. */
  readonly lowBalance: MicroUsd | undefined;
  /** Something failed that the caller must not see but the operator must. */
  readonly onFault: (error: unknown, holdId: string | undefined) => void;
}

/** One admitted call. */
export interface KeyedCall {
  readonly tier: "key" | "jwt";
  /** Undefined: a first-party call that nobody is billed for. */
  readonly hold: Hold | undefined;
  readonly route: string;
  readonly sale: Sale;
  /** What the call really costs, of what the meter says (a platform's fee on a customer's own key). */
  readonly costOf: (metered: MicroUsd) => MicroUsd;
  /** Seals the answer for the caller's Idempotency-Key; undefined: none is kept. */
  readonly answerKey: Buffer | undefined;
  readonly idempotency: HoldRequest["idempotency"];
  /** The answer's status, and the milliseconds so far. */
  readonly facts: () => { readonly status: number; readonly ms: number };
}

/** The charge of a call whose cost is held on an account. `settle` costs nothing; `capture` turns the hold into the debit. */
export function createKeyCharge(parts: KeyChargeParts, call: KeyedCall): Charge {
  return new KeyCharge(parts, call);
}

class KeyCharge implements Charge {
  readonly tier: "key" | "jwt";
  readonly amount: MicroUsd;
  readonly settleBy = Number.POSITIVE_INFINITY;
  readonly upfront = false;
  readonly capturesFirst = true;
  /** Nothing is settled elsewhere, so a client that leaves is never waited for. */
  readonly settling = false;
  readonly #parts: KeyChargeParts;
  readonly #call: KeyedCall;
  #end: Promise<boolean> | undefined;
  #captured = false;
  #kept = false;
  /** Of what was charged before the answer left. */
  #first: SaleReading | undefined;

  constructor(parts: KeyChargeParts, call: KeyedCall) {
    this.#parts = parts;
    this.#call = call;
    this.tier = call.tier;
    this.amount = call.hold?.amount ?? 0n;
    if (call.hold !== undefined) parts.holds.keep(call.hold.id);
  }

  get receipt(): ChargeReceipt {
    return { payer: undefined, transaction: undefined };
  }

  async settle(): Promise<SettleResult> {
    return { outcome: "settled", headers: {} };
  }

  orphan(): void {}

  costOf(metered: MicroUsd): MicroUsd {
    const cost = this.#call.costOf(metered);
    if (cost > this.amount) return this.amount;
    return cost;
  }

  /** False: whether it was charged is not known, and nothing may be served; what was charged all the same is given back. */
  async capture(capture: Capture): Promise<boolean> {
    if (this.#end !== undefined) {
      const done = await this.#end;
      if (done && this.#captured && !this.#kept) await this.#keep(capture.response);
      return done;
    }
    this.#end = capture.first === true ? this.#captureOrUndo(capture) : this.#captureLate(capture);
    return this.#end;
  }

  async release(release: Release): Promise<void> {
    if (this.#end !== undefined) {
      await this.#end;
      // Charged for an answer that then could not be sent, by our doing.
      const first = release.by === "server" ? this.#first : undefined;
      this.#first = undefined;
      if (first !== undefined) await this.#undo(first);
      return;
    }
    this.#end = this.#endUndelivered(release);
    await this.#end;
  }

  /** Nobody has the answer yet: one try, and if it fails the call is refused. */
  async #captureOrUndo(capture: Capture): Promise<boolean> {
    const reading = await this.#read();
    try {
      const shortfall = await this.#capture(this.costOf(reading.cost), reading, capture.response);
      if (shortfall === 0n) {
        this.#first = reading;
        this.#letGo();
        return true;
      }
      // The hold had lapsed and others have spent the money: nothing has left yet, so nothing is sold.
      void this.#undo(reading);
    } catch (error) {
      this.#parts.onFault(error, this.#call.hold?.id);
      void this.#undo(reading);
    }
    return false;
  }

  /** The answer is out: the debit is tried until it is recorded, while the hold is kept. */
  async #captureLate(capture: Capture): Promise<boolean> {
    const reading = await this.#read();
    const done = await this.#attempt(async () => {
      await this.#capture(this.costOf(reading.cost), reading, capture.response);
    });
    this.#letGo();
    return done;
  }

  /** A caller that left pays for what the upstream did until it was cancelled; our failure and the upstream's cost nothing. */
  async #endUndelivered({ by, worked, reason }: Release): Promise<boolean> {
    const isCharged = by === "client" && worked;
    // Of what costs nothing nothing is counted: the hold, and whoever tries again, would wait for it.
    const reading = isCharged ? await this.#read() : this.#call.sale.reported();
    const cost = isCharged && reading.begun ? this.costOf(reading.cost) : 0n;
    const done = await this.#attempt(async () => {
      if (cost > 0n) await this.#capture(cost, reading, undefined);
      else await this.#release(reading, reason);
    });
    this.#letGo();
    return done;
  }

  /** A meter that fails (its tokenizer does not load) must not keep a hold for ever: the call costs what was held. */
  async #read(): Promise<SaleReading> {
    try {
      return await this.#call.sale.read();
    } catch (error) {
      this.#parts.onFault(error, this.#call.hold?.id);
      const unknown = { upstreamStatus: undefined, promptTokens: undefined, completionTokens: undefined };
      return { ...unknown, begun: true, estimated: true, cost: this.#call.sale.range.most };
    }
  }

  /** Returns what could not be taken. */
  async #capture(
    cost: MicroUsd,
    reading: SaleReading,
    response: StoredResponse | undefined,
  ): Promise<MicroUsd> {
    const { ledger, lowBalance, storeTtlMs } = this.#parts;
    const { hold } = this.#call;
    const usage = this.#usage(reading, undefined);
    if (hold === undefined) {
      await ledger.recordUsage(usage, 0n);
      return 0n;
    }
    const sealed = this.#seal(response);
    const { shortfall } = await ledger.capture({
      id: hold.id,
      account: hold.account,
      keyId: hold.keyId,
      cost,
      usage,
      keep: sealed === undefined ? undefined : { ttlMs: storeTtlMs, ...sealed },
      lowBalance,
      idempotency: this.#call.idempotency,
    });
    this.#captured = true;
    this.#kept = sealed !== undefined;
    return shortfall;
  }

  async #release(reading: SaleReading, reason: string): Promise<void> {
    const { ledger } = this.#parts;
    const { hold } = this.#call;
    const usage = this.#usage(reading, reason);
    if (hold === undefined) await ledger.recordUsage(usage, 0n);
    else await ledger.releaseHold(hold.id, usage);
  }

  /**
   * A capture that failed may have been written all the same. If it was not, the hold is freed with its idempotency key. If it
   * was, the caller's retry finds the answer that was kept with it; where none was, what was taken is given back.
   */
  async #undo(reading: SaleReading): Promise<void> {
    const { hold } = this.#call;
    if (hold !== undefined) {
      const { id, account, keyId } = hold;
      const usage = this.#usage(reading, "ledger_unavailable");
      await this.#attempt(async () => {
        await this.#parts.ledger.refund({ id, account, keyId, usage });
      });
    }
    this.#letGo();
  }

  async #keep(response: StoredResponse | undefined): Promise<void> {
    const sealed = this.#seal(response);
    const { hold } = this.#call;
    if (sealed === undefined || hold === undefined) return;
    await this.#attempt(() =>
      this.#parts.ledger.keepAnswer(hold.id, { ttlMs: this.#parts.storeTtlMs, ...sealed }),
    );
  }

  #seal(response: StoredResponse | undefined) {
    const { answerKey } = this.#call;
    if (response === undefined || answerKey === undefined) return undefined;
    return sealResponse(response, [answerKey]);
  }

  #usage(reading: SaleReading, notCharged: string | undefined): UsageFacts {
    const { tier, hold, route, sale } = this.#call;
    const { status, ms } = this.#call.facts();
    return {
      tier: tier === "jwt" ? "internal" : "key",
      account: hold?.account,
      keyId: hold?.keyId,
      keyLabel: hold?.keyLabel,
      payer: undefined,
      route,
      model: sale.model,
      provider: sale.provider,
      promptTokens: reading.promptTokens,
      completionTokens: reading.completionTokens,
      estimated: reading.estimated,
      held: this.amount,
      upstreamCost: hold?.providerKey === undefined ? undefined : reading.cost,
      status,
      upstreamStatus: reading.upstreamStatus,
      ms: Math.round(ms),
      transaction: undefined,
      notCharged: notCharged ?? (hold === undefined ? "not_billed" : undefined),
    };
  }

  #letGo(): void {
    if (this.#call.hold !== undefined) this.#parts.holds.drop(this.#call.hold.id);
  }

  #attempt(step: () => Promise<void>): Promise<boolean> {
    return tryLastStep(step, (error) => this.#parts.onFault(error, this.#call.hold?.id));
  }
}
