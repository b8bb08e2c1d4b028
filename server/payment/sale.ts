import type { IncomingMessage, ServerResponse } from "node:http";
import type { GatewayError } from "../errors.ts";
import type { HoldRange } from "../ledger/call-ledger.ts";
import type { MicroUsd } from "../money.ts";
import type { Charge } from "./charge.ts";
import type { Gate } from "./gate.ts";

/** A request whose charge is open: run it, and write the answer to `res` as if nobody were in between. */
export interface PaidCall {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly body: Buffer;
  readonly charge: Charge;
  readonly gate: Gate;
  /** What was held for it; undefined where it is paid in full (x402) or free. */
  readonly budget: MicroUsd | undefined;
  /** The customer's own key at the upstream. */
  readonly upstreamKey: string | undefined;
}

/** What a call has come to by now. */
export interface SaleReading {
  /** The seller was at work: an abandoned call costs what it says. */
  readonly begun: boolean;
  /** Of the upstream's answer; undefined: there is none. */
  readonly upstreamStatus: number | undefined;
  readonly promptTokens: number | undefined;
  readonly completionTokens: number | undefined;
  readonly estimated: boolean;
  /** At the seller's prices, rounded up. */
  readonly cost: MicroUsd;
}

/** A request that the seller has checked and priced. */
export interface Sale {
  /** Public model name, and the upstream that runs it; undefined where the route has none. */
  readonly model: string | undefined;
  readonly provider: string | undefined;
  readonly range: HoldRange;
  /** May be asked at any time, also while the call runs. */
  read(): Promise<SaleReading>;
  /** The same without what would have to be counted first: for a call that costs nothing. */
  reported(): SaleReading;
  run(call: PaidCall): void | Promise<void>;
}

/**
 * What is sold behind the paywall. It checks the request before anything is claimed or held, so a bad one is refused and costs
 * nothing; a good one yields what is to be run once the charge is open.
 */
export type Seller = (req: IncomingMessage, body: Buffer) => GatewayError | Sale;

/** The sale of a handler at a flat price: whatever happens in it costs that. */
export function flatSale(price: MicroUsd, run: (call: PaidCall) => void | Promise<void>): Sale {
  let begun = false;
  const reported = (): SaleReading => ({
    begun,
    upstreamStatus: undefined,
    promptTokens: undefined,
    completionTokens: undefined,
    estimated: false,
    cost: begun ? price : 0n,
  });
  return {
    model: undefined,
    provider: undefined,
    range: { most: price, least: price },
    read: async () => reported(),
    reported,
    run(call) {
      begun = true;
      return run(call);
    },
  };
}
