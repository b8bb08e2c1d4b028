import type { IncomingMessage, ServerResponse } from "node:http";
import type { CancelSignal } from "../../facilitator-client/cancellation.ts";
import type { GatewayError } from "../errors.ts";
import type { HoldRange } from "../ledger/call-ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { Route } from "../routes.ts";
import type { TokenUsage } from "./chat-answer.ts";

/** What `POST /agent` says of the payment; `transaction` and `payer` are null where the tier has none. */
export interface Billing {
  readonly tier: string;
  /** Decimal USD without `$`, as `formatUsd` writes it. */
  readonly amount: string;
  readonly currency: "USD";
  readonly transaction: string | null;
  readonly payer: string | null;
}

/** One call that is paid for, or about to be. */
export interface ProxyCall {
  readonly req: IncomingMessage;
  /** Written as any streaming response; what stands in between holds the bytes until the charge is settled. */
  readonly res: ServerResponse;
  readonly route: Route;
  /** The whole request body, as it arrived. */
  readonly body: Buffer;
  /**
   * Aborted when nobody takes the answer any more: the client left, or the paywall answered in our place. It is the only sign
   * that is heeded: a closed `res` whose answer is still collected for a retry is written to the end.
   */
  readonly signal: CancelSignal;
  /**
   * Settles now, for an answer that names its own transaction. Called once the upstream's answer is complete and good, before
   * {@link billing} is read. True: settled, write. False: the caller has been answered, write nothing.
   */
  readonly settle: () => Promise<boolean>;
  readonly billing: () => Billing;
  /**
   * Charges what the meter says now: awaited before the last byte of an answer that does not stream, in case the gate has opened
   * already. False: it could not be charged, write nothing more.
   */
  readonly chargeBeforeEnd: () => Promise<boolean>;
  /** Said of a stream before it begins: it has an end of its own. */
  readonly endsItself: () => void;
  /** Ends an answer whose head is written: by this error while nothing has left, else by breaking the connection. */
  readonly breakOff: (error: GatewayError) => void;
  /** Told what the upstream did, as it does it; what it says decides the charge. */
  readonly meter: ReadableMeter;
  /** What the call may cost: a request that fixes no output limit of its own is clamped to it. Undefined: its quote's most. */
  readonly budget: MicroUsd | undefined;
  /** Sent upstream in the place of the operator's key (the customer's own). */
  readonly upstreamKey: string | undefined;
}

/** Follows one call at its upstream. Every method may be called at any time and in any order; none throws. */
export interface Meter {
  /** The request left for the upstream: from here on a call that is abandoned costs something. */
  begun(): void;
  /** The upstream's own status, of which its caller may get another. */
  answered(status: number): void;
  /** As the upstream reports it; the last report counts, and a 0 is none. */
  usage(usage: TokenUsage): void;
  /** Text that the upstream produced (content, reasoning, tool arguments), for the estimate if it reports no usage. */
  produced(text: string): void;
}

/** A meter that can be read, any number of times, also while the call runs. */
export interface ReadableMeter extends Meter {
  read(): Promise<Reading>;
  /** What the upstream reported, without an estimate of the rest. */
  reported(): Reading;
}

/** What a metered call came to. */
export interface Reading {
  readonly begun: boolean;
  readonly usage: TokenUsage | undefined;
  /** Undefined: it has not answered. */
  readonly upstreamStatus: number | undefined;
  /** The upstream reported nothing: counted by a tokenizer. */
  readonly estimated: boolean;
  /** At our prices, rounded up. */
  readonly cost: MicroUsd;
}

/** What a checked request will cost, before it is sent. */
export interface Quote {
  readonly range: HoldRange;
  /** A meter for one call, to be given to `execute`. */
  readonly meter: () => ReadableMeter;
}

/** A request that was checked. Run it with `UpstreamProxy.run`, which also answers its failures. */
export interface Prepared {
  /** The public name of the model it asks; undefined for a plain forward. */
  readonly model: string | undefined;
  /** The upstream that runs it. */
  readonly provider: string;
  readonly quote: Quote;
  /** Throws `GatewayError` when the upstream fails. */
  readonly execute: (call: ProxyCall) => Promise<void>;
}
