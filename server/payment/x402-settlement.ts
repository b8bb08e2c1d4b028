import { GatewayError } from "../errors.ts";
import type { KeepResponse } from "../ledger/sealed-response.ts";
import type { SettleResult } from "./charge.ts";
import type { X402ChargeParts, X402Payment } from "./x402-payment.ts";

/** The one settlement of a claimed payment: each step is recorded before the next, and what it came to decides what is answered. */
export class X402Settlement {
  readonly #parts: X402ChargeParts;
  readonly #payment: X402Payment;
  #transaction: string | undefined;
  #sent = false;
  #kept = false;

  constructor(parts: X402ChargeParts, payment: X402Payment) {
    this.#parts = parts;
    this.#payment = payment;
    this.#transaction = payment.settledAs;
  }

  /** Undefined until it is settled. */
  get transaction(): string | undefined {
    return this.#transaction;
  }

  /** The answer is stored with the settlement. */
  get kept(): boolean {
    return this.#kept;
  }

  /** Never throws. To be called once; `keep` is asked for the answer once the money has moved. */
  settle(isGone: () => boolean, keep: () => KeepResponse | undefined): Promise<SettleResult> {
    return this.#settleOnce(isGone, keep).catch((error: unknown) => this.#ledgerFault(error));
  }

  /** Of a payment that is settled, with its proof. */
  async settled(transaction: string): Promise<SettleResult> {
    return { outcome: "settled", headers: await this.#parts.proof(this.#payment, transaction) };
  }

  async #settleOnce(isGone: () => boolean, keep: () => KeepResponse | undefined): Promise<SettleResult> {
    const { ledger, leaseMs } = this.#parts;
    const { id, fence, network, request, facilitator } = this.#payment;
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
        if (isElsewhere(result.network, network)) return this.#unknown("other_network", result.transaction);
        return this.#recordSettled(result.transaction, keep());
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
        return this.#unknown(result.reason, result.transaction);
    }
  }

  /** The chain decides it. */
  async #unknown(reason: string, transaction: string | undefined): Promise<SettleResult> {
    const { id, fence } = this.#payment;
    await this.#parts.ledger.unknown(id, fence, reason, transaction);
    this.#parts.onState("unknown");
    this.#parts.onUnknown(id);
    return failed("settlement_unknown", 2);
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
    return this.settled(transaction);
  }

  /** No money moved, as far as the facilitator can tell; the chain is asked again once the transaction has expired. */
  async #refused(reason: string): Promise<SettleResult> {
    const { id, fence } = this.#payment;
    this.#payment.onRefused();
    const strikeMs = this.#payment.upfront ? 0 : this.#parts.strikeMs;
    const step = await this.#parts.ledger.release(id, fence, { reason, watched: true, strikeMs });
    if (step === "lost") return failed("settlement_unknown", 2);
    this.#parts.onState("released");
    return { outcome: "failed", error: new GatewayError("payment_refused") };
  }

  /** The ledger did not answer: if anything was sent, the record is `settling` and the reconciler will decide it. */
  #ledgerFault(error: unknown): SettleResult {
    this.#parts.onFault(error, this.#payment.id);
    return failed(this.#sent ? "settlement_unknown" : "ledger_unavailable", 2);
  }
}

/** Settled, but on another chain than was asked for. Names of protocol v1 say less: they are not compared. */
function isElsewhere(told: string, network: string): boolean {
  return told.includes(":") && told !== network;
}

/** Nothing may be served, and the same payment may be sent again. */
export function failed(
  code: "payment_in_progress" | "facilitator_unavailable" | "settlement_unknown" | "ledger_unavailable",
  retryAfterSeconds: number,
): SettleResult {
  return { outcome: "failed", error: new GatewayError(code, { retryAfterSeconds }) };
}
