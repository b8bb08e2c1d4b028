import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { BreakerState } from "../facilitator-client/breaker.ts";
import type { MicroUsd } from "./money.ts";

/** Seconds; from a challenge answered at once to an endless stream. */
const REQUEST_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const BREAKER_STATES: readonly BreakerState[] = ["closed", "half_open", "open"];
const SETTLE_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 35];

const NODE_STATES = ["ok", "lagging", "failing"] as const;

/** What Prometheus is told. Label values come from closed sets (patterns, tiers, states), never from a request. */
export interface Metrics {
  /** `path` is the route's pattern; seconds from arrival to the end of the answer. */
  request(method: string, path: string, tier: string, status: number, seconds: number): void;
  /** A payment entered this state. */
  payment(state: string): void;
  settled(seconds: number): void;
  facilitator(op: "verify" | "settle" | "supported", outcome: string): void;
  /** The breaker of this facilitator is in this state now. */
  breaker(facilitator: string, state: BreakerState): void;
  /** How many payments wait for the chain's verdict now. */
  undecided(count: number): void;
  /** A Solana node entered this state; `node` is its place in the list of URLs, from 1. */
  node(node: number, state: (typeof NODE_STATES)[number]): void;
  /** A payer was credited for a call that was settled and not served. */
  owed(amount: MicroUsd): void;
  receipt(outcome: "signed" | "failed"): void;
  /** A payment waited until everybody else's was checked. */
  heldBack(): void;
  /** The exposition format, and its media type. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** An own registry: two gateways in one process do not add up. Labelled children are resolved once and kept. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const tallies: Tally[] = [];
  new Counter({
    name: "farebox_requests_total",
    help: "Requests for priced routes by route, tier and status.",
    labelNames: ["route", "tier", "status"],
    registers,
    collect() {
      for (const tally of tallies) {
        this.inc(tally.labels, tally.count - tally.told);
        tally.told = tally.count;
      }
    },
  });
  const requestSeconds = new Histogram({
    name: "farebox_request_seconds",
    help: "Seconds from a request's arrival to the end of its answer.",
    labelNames: ["route"],
    buckets: REQUEST_BUCKETS,
    registers,
  });
  const payments = new Counter({
    name: "farebox_payments_total",
    help: "Keyless payments by the state they entered.",
    labelNames: ["state"],
    registers,
  });
  const settleSeconds = new Histogram({
    name: "farebox_settle_seconds",
    help: "Seconds a settlement took at the facilitator.",
    buckets: SETTLE_BUCKETS,
    registers,
  });
  const facilitators = new Counter({
    name: "farebox_facilitator_total",
    help: "Calls to the facilitator by operation and outcome.",
    labelNames: ["op", "outcome"],
    registers,
  });
  const breakers = new Gauge({
    name: "farebox_facilitator_breaker",
    help: "1 for the state that the facilitator's circuit breaker is in, 0 for the others.",
    labelNames: ["facilitator", "state"],
    registers,
  });
  const undecided = new Gauge({
    name: "farebox_undecided_payments",
    help: "Payments whose settlement is not known yet.",
    registers,
  });
  const owed = new Counter({
    name: "farebox_owed_micro_usd_total",
    help: "Micro-dollars credited to payers that were settled and not served.",
    registers,
  });
  const heldBack = new Counter({
    name: "farebox_held_back_total",
    help: "Payments of addresses past their limit, which are checked after everybody else's.",
    registers,
  });
  const receipts = new Counter({
    name: "farebox_receipts_total",
    help: "Receipts by whether they could be signed.",
    labelNames: ["outcome"],
    registers,
  });
  const nodes = new Gauge({
    name: "farebox_rpc_node",
    help: "State of each Solana node that is not ok, or was not: 1 for the state it is in.",
    labelNames: ["node", "state"],
    registers,
  });
  const ofRoute = remember((method: string) =>
    remember((path: string) => {
      const route = `${method} ${path}`;
      const tally = remember((tier: string) =>
        remember((status: number) => {
          const made = { labels: { route, tier, status }, count: 0, told: 0 };
          tallies.push(made);
          return made;
        }),
      );
      return { tally, seconds: requestSeconds.labels(route) };
    }),
  );
  const paymentChild = remember((state: string) => payments.labels(state));
  const facilitatorChild = remember((op: string) =>
    remember((outcome: string) => facilitators.labels(op, outcome)),
  );
  return {
    request(method, path, tier, status, seconds) {
      const route = ofRoute(method)(path);
      route.tally(tier)(status).count += 1;
      route.seconds.observe(seconds);
    },
    payment: (state) => paymentChild(state).inc(),
    settled: (seconds) => settleSeconds.observe(seconds),
    facilitator: (op, outcome) => facilitatorChild(op)(outcome).inc(),
    breaker(facilitator, state) {
      for (const each of BREAKER_STATES) breakers.labels(facilitator, each).set(each === state ? 1 : 0);
    },
    undecided: (count) => undecided.set(count),
    node(node, state) {
      for (const each of NODE_STATES) nodes.labels(String(node), each).set(each === state ? 1 : 0);
    },
    // Prometheus counts in floating point; the ledger is what says how much is owed.
    owed: (amount) => owed.inc(Number(amount)),
    heldBack: () => heldBack.inc(),
    receipt: (outcome) => receipts.labels(outcome).inc(),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

/** Requests with these labels: counted on the hot path, told to the library when somebody asks, for its own counting is slow. */
interface Tally {
  readonly labels: Readonly<Record<"route" | "tier" | "status", string | number>>;
  count: number;
  told: number;
}

function remember<Key, Value>(make: (key: Key) => Value): (key: Key) => Value {
  const known = new Map<Key, Value>();
  return (key) => {
    const found = known.get(key);
    if (found !== undefined) return found;
    const made = make(key);
    known.set(key, made);
    return made;
  };
}
