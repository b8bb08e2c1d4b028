import { setTimeout } from "node:timers/promises";
import type { FacilitatorRequest } from "../../facilitator-client/types.ts";
import { GatewayError } from "../errors.ts";
import type { UsageFacts } from "../ledger/call-ledger.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { KeepResponse } from "../ledger/sealed-response.ts";
import type { MicroUsd } from "../money.ts";
import type { Capture, Charge, ChargeReceipt, Release, SettleResult, StoredResponse } from "./charge.ts";
import type { Settler } from "./facilitators.ts";
import { tryLastStep } from "./last-step.ts";
import type { LeaseKeeper } from "./leases.ts";
import type { Proof, ProvenPayment } from "./proof.ts";
import { sealResponse } from "./response-store.ts";

export interface X402ChargeParts {
  readonly ledger: Ledger;
  readonly leases: LeaseKeeper;
  readonly leaseMs: number;
  readonly strikeMs: number;
  readonly storeTtlMs: number;
  readonly proof: Proof;
  /** The settlement of this payment is unknown: ask the chain soon. */
  readonly onUnknown: (id: string) => void;
  /** Something failed that the caller must not see but the operator must. */
  readonly onFault: (error: unknown, paymentId: string) => void;
  /** The amount went onto the payer's wallet account. */
  readonly onCredited: (amount: MicroUsd) => void;
  /** A payment reached a state, for metrics and the log. */
  readonly onState: (state: "settled" | "delivered" | "credited" | "released" | "unknown" | "parked") => void;
}

/** One claimed payment, as its charge needs it. */
export interface X402Payment extends ProvenPayment {
  readonly id: string;
  readonly amount: MicroUsd;
  readonly fence: number;
  readonly request: FacilitatorRequest;
  /** The one that verified it settles it. Undefined if it is settled already. */
  readonly facilitator: Settler | undefined;
  readonly settleBy: number;
  readonly upfront: boolean;
  /** Keys that may open the stored response; none: keep none (protocol v1). */
  readonly responseKeys: () => readonly Buffer[];
  /** Set when the payment was settled earlier and is only to be served. */
  readonly settledAs: string | undefined;
  /** What is recorded of the call when it is delivered. */
  readonly usage: () => Promise<UsageFacts>;
  /**
   * Called once, when the charge is over, unless the step that ended it has recorded the usage: what the payer bears for this
   * call, or why it bears nothing.
   */
  readonly onEnd: (charged: MicroUsd, notCharged: string | undefined) => void;
  /** The facilitator refused to settle it. */
  readonly onRefused: () => void;
}

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
  #settlement: Promise<SettleResult> | undefined;
  #transaction: string | undefined;
  #ended = false;
  #sent = false;
  /** The answer is stored with the settlement. */
  #kept = false;

  constructor(parts: X402ChargeParts, payment: X402Payment) {
    this.#parts = parts;
    this.#payment = payment;
    this.amount = payment.amount;
    this.settleBy = payment.settleBy;
    this.upfront = payment.upfront;
    parts.leases.hold(payment.id, payment.fence);
    if (payment.settledAs !== undefined) {
      this.#transaction = payment.settledAs;
      this.#settlement = this.#settled(payment.settledAs);
    }
  }

  costOf(): MicroUsd {
    return this.amount;
  }

  get paymentId(): string {
    return this.#payment.id;
  }

  get settling(): boolean {
    return this.#settlement !== undefined;
  }

  get receipt(): ChargeReceipt {
    return { payer: this.#payment.payer, transaction: this.#transaction };
  }

  settle(isGone: () => boolean, whole?: StoredResponse | undefined): Promise<SettleResult> {
    // A charge that was released is over, whatever a timer still asks of it.
    if (this.#ended && this.#settlement === undefined) {
      return Promise.resolve(failed("payment_in_progress", 1));
    }
    this.#settlement ??= this.#settleAndLetGo(isGone, whole);
    return this.#settlement;
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
    const keep = this.#kept ? undefined : this.#seal(capture.response);
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
    const settlement = this.#settlement === undefined ? undefined : await this.#settlement;
    if (settlement === undefined) return "open";
    return settlement.outcome === "settled" ? "settled" : "over";
  }

  /** A charge that could not be settled ends here: a lease kept alive would keep its record from the reconciler. */
  async #settleAndLetGo(isGone: () => boolean, whole: StoredResponse | undefined): Promise<SettleResult> {
    const result = await this.#settleOnce(isGone, whole).catch((error: unknown) => this.#ledgerFault(error));
    if (result.outcome === "failed") this.#letGo(0n, result.error.code);
    return result;
  }

  /** Told before the lease is dropped, which is what a shutdown waits for. */
  #letGo(charged: MicroUsd, notCharged: string | undefined): void {
    this.#payment.onEnd(charged, notCharged);
    this.#parts.leases.drop(this.#payment.id, this.#payment.fence);
  }

  async #settleOnce(isGone: () => boolean, whole: StoredResponse | undefined): Promise<SettleResult> {
    const { ledger, leaseMs } = this.#parts;
    const { id, fence, request, facilitator } = this.#payment;
    if (facilitator === undefined) return failed("facilitator_unavailable", 2);
    const begun = await ledger.beginSettle(id, fence, leaseMs);
    if (begun === "lost") return failed("payment_in_progress", 1);
    if (begun === "twin") return this.#giveWay();
    if (isGone()) {
      await ledger.release(id, fence, {
        reason: "client_left",
        watched: false,
        strikeMs: this.#parts.strikeMs,
      });
      this.#parts.onState("released");
      return failed("payment_in_progress", 1);
    }
    this.#sent = true;
    const result = await facilitator.settle(request);
    switch (result.outcome) {
      case "ok":
        return this.#recordSettled(result.transaction, this.#seal(whole));
      case "refused":
        return this.#refused(result.reason);
      case "not_sent":
        // An answer that we take for "not handled" is no proof: a proxy may have given it.
        await ledger.release(id, fence, {
          reason: result.reason,
          watched: result.reason.startsWith("http_"),
          strikeMs: 0,
        });
        this.#parts.onState("released");
        return failed("facilitator_unavailable", 2);
      case "unknown":
        await ledger.unknown(id, fence, result.reason, result.transaction);
        this.#parts.onState("unknown");
        this.#parts.onUnknown(id);
        return failed("settlement_unknown", 2);
    }
  }

  /** An earlier payment for this very call may have settled: the retry of this one asks the chain and is served by it. */
  async #giveWay(): Promise<SettleResult> {
    const { id, fence } = this.#payment;
    await this.#parts.ledger.release(id, fence, {
      reason: "twin",
      watched: false,
      strikeMs: 0,
    });
    this.#parts.onState("released");
    return failed("settlement_unknown", 2);
  }

  async #recordSettled(transaction: string, keep: KeepResponse | undefined): Promise<SettleResult> {
    const { id, fence } = this.#payment;
    const step = await this.#parts.ledger.settled(id, fence, transaction, keep);
    if (step === "lost") {
      this.#parts.onUnknown(id);
      return failed("settlement_unknown", 2);
    }
    this.#transaction = transaction;
    this.#kept = keep !== undefined;
    this.#parts.onState("settled");
    return this.#settled(transaction);
  }

  /** No money moved, as far as the facilitator can tell; the chain is asked again once the transaction has expired. */
  async #refused(reason: string): Promise<SettleResult> {
    const { id, fence } = this.#payment;
    this.#payment.onRefused();
    const strikeMs = this.upfront ? 0 : this.#parts.strikeMs;
    const step = await this.#parts.ledger.release(id, fence, { reason, watched: true, strikeMs });
    if (step === "lost") return failed("settlement_unknown", 2);
    this.#parts.onState("released");
    return { outcome: "failed", error: new GatewayError("payment_refused") };
  }

  async #settled(transaction: string): Promise<SettleResult> {
    return { outcome: "settled", headers: await this.#parts.proof(this.#payment, transaction) };
  }

  /** The ledger did not answer: if anything was sent, the record is `settling` and the reconciler will decide it. */
  #ledgerFault(error: unknown): SettleResult {
    this.#parts.onFault(error, this.#payment.id);
    return failed(this.#sent ? "settlement_unknown" : "ledger_unavailable", 2);
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

function failed(
  code: "payment_in_progress" | "facilitator_unavailable" | "settlement_unknown" | "ledger_unavailable",
  retryAfterSeconds: number,
): SettleResult {
  return { outcome: "failed", error: new GatewayError(code, { retryAfterSeconds }) };
}
