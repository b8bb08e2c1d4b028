import { setCorsHeaders } from "../cors.ts";
import { GatewayError } from "../errors.ts";
import type { MicroUsd } from "../money.ts";
import { Roster } from "../roster.ts";
import type { Charge } from "./charge.ts";
import { Gate, type GateOptions } from "./gate.ts";
import type { Sale } from "./sale.ts";
import type { Visit } from "./visit.ts";

/** Conditional requests would turn a paid answer into an empty 304. */
const CONDITIONAL = ["if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range"];

export interface DeliveryParts {
  readonly gate: Pick<GateOptions, "streamingTypes" | "gateBytes" | "keepBytes">;
  readonly now: () => number;
  /** Writes an error in the handler's place. */
  readonly refuse: (visit: Visit, error: GatewayError) => void;
  readonly onFault: (error: unknown) => void;
}

/** A sale whose charge is open. */
export interface Delivery {
  readonly sale: Sale;
  readonly body: Buffer;
  readonly charge: Charge;
  readonly budget: MicroUsd | undefined;
  readonly upstreamKey: string | undefined;
  /** Keep a copy of the answer for a retry. */
  readonly keeps: boolean;
  /** The call may run for so long; undefined: its own time limits suffice. */
  readonly timeoutMs: number | undefined;
}

export interface Deliveries {
  /** Runs a sale behind a gate of its own. An error is what remains to be answered. Never throws. */
  deliver(visit: Visit, delivery: Delivery): Promise<GatewayError | undefined>;
  /** Calls that hold a gate now. */
  readonly active: number;
  /** Ends what streams and refuses what has not begun. */
  cutOff(): void;
}

/** The last part of the way of every priced request, whoever pays: the gate in front, the seller behind. */
export function createDeliveries(parts: DeliveryParts): Deliveries {
  const gates = new Roster<Gate>();

  async function settleUpfront(visit: Visit, charge: Charge): Promise<GatewayError | undefined> {
    const { res } = visit;
    const orphan = (): void => charge.orphan();
    res.once("close", orphan);
    const settled = await charge.settle(() => res.closed);
    res.off("close", orphan);
    return settled.outcome === "failed" ? settled.error : undefined;
  }

  function openGate(visit: Visit, { charge, keeps, timeoutMs }: Delivery): Gate {
    const { req, res } = visit;
    let limit: NodeJS.Timeout | undefined;
    const gate = new Gate(req, res, charge, {
      streamingTypes: parts.gate.streamingTypes,
      gateBytes: parts.gate.gateBytes,
      keepBytes: keeps ? parts.gate.keepBytes : 0,
      now: parts.now,
      answer: (error) => parts.refuse(visit, error),
      over: () => {
        clearTimeout(limit);
        gates.delete(gate);
      },
    });
    if (timeoutMs !== undefined) limit = setTimeout(() => gate.expire(), timeoutMs).unref();
    gates.add(gate);
    return gate;
  }

  async function deliver(visit: Visit, delivery: Delivery): Promise<GatewayError | undefined> {
    const { req, res } = visit;
    const { charge, sale, body, budget, upstreamKey } = delivery;
    if (charge.upfront) {
      const failed = await settleUpfront(visit, charge);
      if (failed !== undefined) return failed;
    }
    // Its client has left, or a middleware before us has answered it: the payment is good for a retry.
    if (res.closed || res.headersSent) {
      if (charge.settling) await charge.capture({ delivered: false, response: undefined });
      else await charge.release({ reason: "client_left", by: "client", worked: false });
      return undefined;
    }
    const { headers } = req;
    if (headers["if-range"] !== undefined) delete headers.range;
    // Taking away what is not there costs as much as taking it away.
    for (const name of CONDITIONAL) if (headers[name] !== undefined) delete headers[name];
    let gate: Gate;
    try {
      setCorsHeaders(res);
      gate = openGate(visit, delivery);
    } catch (cause) {
      // Somebody before us has wrapped the response, and fails.
      parts.onFault(cause);
      await charge.release({ reason: "handler_failed", by: "server", worked: false });
      return new GatewayError("internal_error", { cause });
    }
    try {
      await sale.run({ req, res, body, charge, gate, budget, upstreamKey });
    } catch (error) {
      parts.onFault(error);
      gate.abandon(new GatewayError("internal_error"));
    }
    return undefined;
  }

  return {
    deliver,
    get active() {
      return gates.size;
    },
    cutOff() {
      for (const gate of gates) gate.cutOff();
    },
  };
}
