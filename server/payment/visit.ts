import type { IncomingMessage, ServerResponse } from "node:http";
import type { ErrorCode } from "../errors.ts";
import type { RouteMatch } from "../route-table.ts";
import type { Tier } from "../routes.ts";
import type { Charge } from "./charge.ts";
import type { Sale, Seller } from "./sale.ts";

/** One request for something that is sold, and what is learnt of it on its way. */
export interface Visit {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly seller: Seller;
  /** `performance.now()` at its arrival. */
  readonly started: number;
  /** With the price of this very request, once that is known. */
  match: RouteMatch;
  tier: Tier | "none";
  /** The client's address at the arrival of a payment, for the client may leave; empty: the request carries none. */
  paysFrom: string;
  /** Its payment was checked after everybody else's (turns.ts). */
  heldBack: boolean;
  code: ErrorCode | undefined;
  payer: string | undefined;
  charge: Charge | undefined;
  sale: Sale | undefined;
  /** The account that pays, once a hold has named it. */
  account: string | undefined;
}

export function beginVisit(
  req: IncomingMessage,
  res: ServerResponse,
  match: RouteMatch,
  seller: Seller,
): Visit {
  return {
    req,
    res,
    seller,
    started: performance.now(),
    match,
    tier: "none",
    paysFrom: "",
    heldBack: false,
    code: undefined,
    payer: undefined,
    charge: undefined,
    sale: undefined,
    account: undefined,
  };
}
