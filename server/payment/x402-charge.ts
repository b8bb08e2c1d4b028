import { setTimeout } from "node:timers/promises";
import type { UsageFacts } from "../ledger/call-ledger.ts";
import type { KeepResponse } from "../ledger/sealed-response.ts";
import type { MicroUsd } from "../money.ts";
import type { Capture, Charge, ChargeReceipt, Release, SettleResult, StoredResponse } from "./charge.ts";
import { tryLastStep } from "./last-step.ts";
import { sealResponse } from "./response-store.ts";
import type { X402ChargeParts, X402Payment } from "./x402-payment.ts";
import { failed, X402Settlement } from "./x402-settlement.ts";

/** The charge of a payment by wallet, which may also end with its amount on an account. */
export interface WalletCharge extends Charge {
  readonly paymentId: string;
  /**
   * In the place of capture and release, after `settle`: the amount goes onto the account of the record's beneficiary. Resolves
   * when that is durable; false: it is not recorded yet. It is tried on, and then whoever finds the settled record credits it.
   * Never throws.
   */
  credit(reason: string): Promise<boolean>;
}

/** So long does the buyer of credit wait for a ledger that fails. */
const CREDIT_ANSWER_MS = 5_000;

/** Opens the charge of a claimed payment: its lease is held from here until the charge ends. */
export function createX402Charge(parts: X402ChargeParts, payment: X402Payment): WalletCharge {
  return new X402Charge(parts, payment);
}

class X402Charge implements WalletCharge {
  readonly tier = "x402";
  readonly capturesFirst = false;
  readonly amount: MicroUsd;
  readonly settleBy: number;
  readonly upfront: boolean;
  readonly #parts: X402ChargeParts;
  readonly #payment: X402Payment;
  readonly #settlement: X402Settlement;
  #settled: Promise<SettleResult> | undefined;
  #ended = false;

  constructor(parts: X402ChargeParts, payment: X402Payment) {
    this.#parts = parts;
    this.#payment = payment;
    this.amount = payment.amount;
    this.settleBy = payment.settleBy;
    this.upfront = payment.upfront;
    parts.leases.hold(payment.id, payment.fence);
    this.#settlement = new X402Settlement(parts, payment);
    if (payment.settledAs !== undefined) this.#settled = this.#settlement.settled(payment.settledAs);
  }

  costOf(): MicroUsd {
    return this.amount;
  }

  get paymentId(): string {
    return this.#payment.id;
  }

  get settling(): boolean {
    return this.#settled !== undefined;
  }

  get receipt(): ChargeReceipt {
    return { payer: this.#payment.payer, transaction: this.#settlement.transaction };
  }

  settle(isGone: () => boolean, whole?: StoredResponse | undefined): Promise<SettleResult> {
    // A charge that was released is over, whatever a timer still asks of it.
    if (this.#ended && this.#settled === undefined) {
      return Promise.resolve(failed("payment_in_progress", 1));
    }
    this.#settled ??= this.#settleAndLetGo(isGone, whole);
    return this.#settled;
  }

  orphan(): void {
    const { id, fence } = this.#payment;
    void this.#attempt(async () => {
      await this.#parts.ledger.orphan(id, fence);
    });
  }

  async capture(capture: Capture): Promise<boolean> {
    const step = await this.#end();
    if (step !== "settled") return step === "over";
    const { id, fence } = this.#payment;
    const keep = this.#settlement.kept ? undefined : this.#seal(capture.response);
    const { ledger, leases, onState } = this.#parts;
    if (capture.delivered) {
      if (await this.#deliver(keep)) leases.drop(id, fence);
      else this.#letGo(this.amount, undefined);
      return true;
    }
    await this.#attempt(async () => {
      await ledger.park(id, fence, keep);
      onState("parked");
    });
    // The retry that is served, or the credit if nobody comes, is what it came to.
    this.#letGo(0n, "client_left");
    return true;
  }

  /** Whether the delivery was recorded, and with it the usage. */
  async #deliver(keep: KeepResponse | undefined): Promise<boolean> {
    const { id, fence } = this.#payment;
    const usage = await this.#usage();
    let recorded = false;
    await this.#attempt(async () => {
      const { ledger } = this.#parts;
      const step = await ledger.deliver(id, fence, keep, usage);
      // Lost after a fault: the try before may have done it, and written the usage.
      const isDelivered = step === "ok" || (await ledger.payment(id))?.state === "delivered";
      recorded = isDelivered && usage !== undefined;
      this.#parts.onState("delivered");
    });
    return recorded;
  }

  async #usage(): Promise<{ facts: UsageFacts; charged: MicroUsd } | undefined> {
    try {
      return { facts: await this.#payment.usage(), charged: this.amount };
    } catch (error) {
      this.#parts.onFault(error, this.#payment.id);
      return undefined;
    }
  }

  async release(release: Release): Promise<void> {
    const state = await this.#end();
    const { id, fence } = this.#payment;
    const { ledger, strikeMs, onState } = this.#parts;
    if (state === "over") return;
    await this.#attempt(async () => {
      if (state === "open") {
        const strike = release.by === "client" && release.worked ? strikeMs : 0;
        await ledger.release(id, fence, { reason: release.reason, watched: false, strikeMs: strike });
        onState("released");
      } else if (release.by === "client") {
        await ledger.park(id, fence, undefined);
        onState("parked");
      } else {
        if ((await ledger.credit(id, fence, release.reason)) === "lost") return;
        onState("credited");
        this.#parts.onCredited(this.amount);
      }
    });
    this.#letGo(0n, release.reason);
  }

  credit(reason: string): Promise<boolean> {
    const inTime = setTimeout(CREDIT_ANSWER_MS, false, { ref: false });
    return Promise.race([this.#credit(reason), inTime]);
  }

  async #credit(reason: string): Promise<boolean> {
    if ((await this.#end()) !== "settled") return false;
    const { id, fence } = this.#payment;
    const { ledger, onState } = this.#parts;
    let isCredited = false;
    await this.#attempt(async () => {
      const step = await ledger.credit(id, fence, reason);
      // Lost after a fault: the try before may have done it, or somebody else has by now.
      isCredited = step === "ok" || (await ledger.payment(id))?.state === "credited";
      if (step === "ok") onState("credited");
    });
    if (isCredited) this.#letGo(this.amount, undefined);
    else this.#letGo(0n, "ledger_unavailable");
    return isCredited;
  }

  /** Ends the charge: what it was by then. `over`: ended before, or the settlement failed and has said so itself. */
  async #end(): Promise<"open" | "settled" | "over"> {
    if (this.#ended) return "over";
    this.#ended = true;
    const result = this.#settled === undefined ? undefined : await this.#settled;
    if (result === undefined) return "open";
    return result.outcome === "settled" ? "settled" : "over";
  }

  /** A charge that could not be settled ends here: a lease kept alive would keep its record from the reconciler. */
  async #settleAndLetGo(isGone: () => boolean, whole: StoredResponse | undefined): Promise<SettleResult> {
    const result = await this.#settlement.settle(isGone, () => this.#seal(whole));
    if (result.outcome === "failed") this.#letGo(0n, result.error.code);
    return result;
  }

  /** Told before the lease is dropped, which is what a shutdown waits for. */
  #letGo(charged: MicroUsd, notCharged: string | undefined): void {
    this.#payment.onEnd(charged, notCharged);
    this.#parts.leases.drop(this.#payment.id, this.#payment.fence);
  }

  #seal(response: StoredResponse | undefined): KeepResponse | undefined {
    if (response === undefined) return undefined;
    const responseKeys = this.#payment.responseKeys();
    if (responseKeys.length === 0) return undefined;
    return { ttlMs: this.#parts.storeTtlMs, ...sealResponse(response, responseKeys) };
  }

  /**
   * The last step of a charge. The ledger may be busy for a moment, and a delivery that is not recorded would be credited
   * later, so it is tried again while the lease is held.
   */
  async #attempt(step: () => Promise<void>): Promise<void> {
    await tryLastStep(step, (error) => this.#parts.onFault(error, this.#payment.id));
  }
}
