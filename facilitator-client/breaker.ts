import { CircuitState, circuitBreaker, handleWhenResult, type IBreaker } from "cockatiel";
import { type Clock, systemClock } from "./clock.ts";
import type { Facilitator, SettleResult, SupportedResult, VerifyResult } from "./types.ts";

/** `open`: it is asked for nothing but `/supported`. `half_open`: such a question is under way and decides. */
export type BreakerState = "closed" | "half_open" | "open";

/** Says the facilitator's breaker was open; nothing was sent. */
const BREAKER_OPEN = "breaker_open";

export interface BreakerOptions {
  /** So many calls in a row that fail open it. */
  readonly failures: number;
  /**
   * No answer to `/supported` closes it earlier after it opened, ms. Twice as long each time that verify or settle open it
   * without one good answer in between, up to eight times: they may fail where `/supported` works.
   */
  readonly halfOpenAfterMs: number;
  /** Called at each change, with the failure that opened it. */
  readonly onChange: (state: BreakerState, reason: string | undefined) => void;
  readonly clock?: Clock;
}

/** A facilitator that is left alone while it does not work. */
export interface GuardedFacilitator extends Facilitator {
  /** While not `closed`, verify and settle are `not_sent`. */
  readonly state: BreakerState;
}

type Result = VerifyResult | SettleResult | SupportedResult;

/** `/supported` is asked twice before its failure counts: a connection that died idle is no dead facilitator. */
const SUPPORTED_TRIES = 2;
const MAX_DOUBLINGS = 3;

/**
 * A facilitator behind a circuit breaker. A failing `/supported` opens it at once, of verify and settle `failures` in a
 * row. It never asks by itself: whoever asks `/supported` now and then (supported-cache.ts) probes it too.
 *
 * Race: a call that was under way when it opened ends as it would have; a `/settle` is never cut off.
 */
export function guardFacilitator(facilitator: Facilitator, options: BreakerOptions): GuardedFacilitator {
  const { failures, halfOpenAfterMs, onChange, clock = systemClock } = options;
  let count = 0;
  let openedAt = 0;
  let relapses = -1;
  let reason: string | undefined;
  // What is counted is decided in `run`, since a failure's weight differs and some results say nothing.
  const breaker: IBreaker = { state: undefined, success: () => undefined, failure: () => count >= failures };
  const policy = circuitBreaker(
    handleWhenResult((verdict) => verdict === "failure"),
    // The delay is counted below, by a clock that nobody sets back: the policy itself would half-open at any time.
    { breaker, halfOpenAfter: Number.NEGATIVE_INFINITY },
  );
  policy.onStateChange((state) => {
    if (state === CircuitState.Open) openedAt = clock.now();
    if (state === CircuitState.Closed) count = 0;
    onChange(nameOf(state), state === CircuitState.Open ? reason : undefined);
  });

  async function run<R extends Result>(what: "payment" | "probe", asked: Promise<R>): Promise<R> {
    await policy.execute(async () => {
      const result = await asked;
      const verdict = judge(result);
      if (verdict === "answer") count = 0;
      if (verdict === "answer" && what === "payment") relapses = -1;
      if (verdict === "failure") {
        count += what === "payment" ? 1 : failures;
        reason = "reason" in result ? result.reason : undefined;
        if (what === "payment" && count === failures) relapses += 1;
      }
      return verdict;
    });
    return asked;
  }

  function mayHalfOpen(): boolean {
    const delay = halfOpenAfterMs * 2 ** Math.min(Math.max(relapses, 0), MAX_DOUBLINGS);
    return clock.now() - openedAt >= delay;
  }

  async function askSupported(): Promise<SupportedResult> {
    let result = await facilitator.supported();
    for (let tries = 1; tries < SUPPORTED_TRIES && judge(result) === "failure"; tries += 1) {
      result = await facilitator.supported();
    }
    return result;
  }

  return {
    name: facilitator.name,
    get state() {
      return nameOf(policy.state);
    },
    async verify(request, signal) {
      if (policy.state !== CircuitState.Closed) return { outcome: "not_sent", reason: BREAKER_OPEN };
      return run("payment", facilitator.verify(request, signal));
    },
    async settle(request) {
      if (policy.state !== CircuitState.Closed) return { outcome: "not_sent", reason: BREAKER_OPEN };
      return run("payment", facilitator.settle(request));
    },
    async supported() {
      const early = policy.state === CircuitState.Open && !mayHalfOpen();
      return early ? facilitator.supported() : run("probe", askSupported());
    },
    close: () => facilitator.close(),
  };
}

function nameOf(state: CircuitState): BreakerState {
  if (state === CircuitState.Closed) return "closed";
  return state === CircuitState.HalfOpen ? "half_open" : "open";
}

/**
 * `answer`: it works, whatever it says, also that a payment is not valid or that it could not settle one. `failure`: no
 * connection, no answer in time, 5xx, or one that nobody can read. `neither`: a call that we ended ourselves, and a 4xx to
 * verify or settle, since a payment could be made to provoke it.
 */
function judge(result: Result): "answer" | "failure" | "neither" {
  if (result.outcome === "ok" || result.outcome === "refused") return "answer";
  if (result.outcome === "unknown" && "replied" in result && result.replied === true) return "answer";
  const { outcome, reason } = result;
  if (reason === "cancelled" || reason === "closed") return "neither";
  const harmless = outcome === "failed" ? reason === "http_429" : /^http_4\d\d$/.test(reason);
  return harmless ? "neither" : "failure";
}
