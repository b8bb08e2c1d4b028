import type { IncomingMessage, ServerResponse } from "node:http";
import type { Route } from "../routes.ts";

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
  readonly signal: AbortSignal;
  /**
   * Settles now, for an answer that names its own transaction. Called once the upstream's answer is complete and good, before
   * {@link billing} is read. True: settled, write. False: the caller has been answered, write nothing.
   */
  readonly settle: () => Promise<boolean>;
  readonly billing: () => Billing;
}

/** A request that was checked. Run it with `UpstreamProxy.run`, which also answers its failures. */
export interface Prepared {
  /** The public name of the model it asks; undefined for a plain forward. */
  readonly model: string | undefined;
  /** Throws `GatewayError` when the upstream fails. */
  readonly execute: (call: ProxyCall) => Promise<void>;
}
