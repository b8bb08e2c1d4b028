import { type BreakerState, guardFacilitator } from "../facilitator-client/breaker.ts";
import { type Clock, systemClock } from "../facilitator-client/clock.ts";
import { createCoinbaseFacilitator } from "../facilitator-client/coinbase.ts";
import { createHttpFacilitator } from "../facilitator-client/http-facilitator.ts";
import { createSupportedCache, type SupportedCache } from "../facilitator-client/supported-cache.ts";
import type { Facilitator } from "../facilitator-client/types.ts";
import type { Config, FacilitatorConfig } from "./config.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { createFacilitators, type FacilitatorMember, type Facilitators } from "./payment/facilitators.ts";
import { createOfferedTerms, type MerchantTerms } from "./payment/terms.ts";

type FacilitatorSettings = Pick<
  Config,
  "facilitators" | "cdpKeyId" | "cdpKeySecret" | "verifyTimeoutMs" | "settleTimeoutMs"
>;

export interface OpenFacilitatorsOptions {
  readonly settings: FacilitatorSettings;
  readonly merchant: MerchantTerms;
  /** How long a 402 may be paid, ms. */
  readonly memoryMs: number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** When `/supported` is asked. */
  readonly clock?: Clock | undefined;
}

/** How one facilitator is, for `/readyz`. */
export interface FacilitatorHealth {
  readonly name: string;
  /** Of its breaker; a single one, which has none, is `failing` or, without an answer in time, `silent`. */
  readonly state: BreakerState | "failing" | "silent";
}

export interface OpenedFacilitators {
  readonly facilitators: Facilitators;
  /** Of several, each. Of a single one nothing while it answers `/supported`; it is asked now, unless it was just asked. */
  health(): Promise<readonly FacilitatorHealth[]>;
  /** Stops asking `/supported`. */
  stop(): void;
  close(): Promise<void>;
}

const SUPPORTED_MAX_AGE_MS = 300_000;
const SUPPORTED_COOLDOWN_MS = 3_000;
/** How long `/readyz` waits for it. */
const SUPPORTED_ANSWER_MS = 1_000;

/**
 * With several, each is asked this often whether it lives, and twice before it counts as dead: so new 402s name another
 * one within 1.5 + 2 x 1.5 seconds, also if it only stays silent.
 */
const HEALTH_EVERY_MS = 1_500;
const HEALTH_TIMEOUT_MS = 1_500;
const HALF_OPEN_AFTER_MS = 1_500;
/** Calls to verify and settle that fail in a row. */
const BREAKER_FAILURES = 5;

/** Opens the configured facilitators and begins to ask what they support. Rejects if one cannot be used as configured. */
export async function openFacilitators(options: OpenFacilitatorsOptions): Promise<OpenedFacilitators> {
  const { settings, memoryMs } = options;
  const several = settings.facilitators.length > 1;
  if (settings.facilitators.length === 0) throw new Error("facilitator is not set: nobody settles");
  const clients = await createClients(settings, several, options.metrics);
  const opened = clients.map((client) =>
    several ? openGuarded(client, options) : openSingle(client, options),
  );
  return {
    facilitators: createFacilitators({
      members: opened.map(({ member }) => member),
      now: Date.now,
      memoryMs,
    }),
    health: async () => (await Promise.all(opened.map(({ health }) => health()))).flat(),
    stop() {
      for (const { stop } of opened) stop();
    },
    async close() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}

interface OpenedMember {
  readonly member: FacilitatorMember;
  readonly health: () => Promise<readonly FacilitatorHealth[]>;
  stop(): void;
}

function openSingle(facilitator: Facilitator, options: OpenFacilitatorsOptions): OpenedMember {
  const times = { maxAgeMs: SUPPORTED_MAX_AGE_MS, cooldownMs: SUPPORTED_COOLDOWN_MS };
  const { supported, ...opened } = openMember(facilitator, options, times, () => true);
  const { name } = facilitator;
  return {
    ...opened,
    // Between two of its questions, five minutes apart, only a payment would notice that it is down.
    async health() {
      const result = await within(SUPPORTED_ANSWER_MS, supported.refresh(), options.clock ?? systemClock);
      if (result === undefined) return [{ name, state: "silent" }];
      return result.outcome === "ok" ? [] : [{ name, state: "failing" }];
    },
  };
}

/** Undefined: it took longer. */
function within<Value>(ms: number, promise: Promise<Value>, clock: Clock): Promise<Value | undefined> {
  let cancel = () => {};
  const late = new Promise<undefined>((resolve) => {
    cancel = clock.after(ms, () => resolve(undefined));
  });
  return Promise.race([promise, late]).finally(cancel);
}

function openGuarded(client: Facilitator, options: OpenFacilitatorsOptions): OpenedMember {
  const { log, metrics, clock = systemClock } = options;
  const { name } = client;
  metrics.breaker(name, "closed");
  const guarded = guardFacilitator(client, {
    failures: BREAKER_FAILURES,
    halfOpenAfterMs: HALF_OPEN_AFTER_MS,
    clock,
    onChange: createBreakerReport(name, log, metrics),
  });
  const times = { maxAgeMs: HEALTH_EVERY_MS, cooldownMs: HEALTH_EVERY_MS };
  const { supported: _, ...opened } = openMember(guarded, options, times, () => guarded.state === "closed");
  return { ...opened, health: async () => [{ name, state: guarded.state }] };
}

/** One line when it stops working and one when it works again, however often it was tried in between. */
function createBreakerReport(name: string, log: Logger, metrics: Metrics) {
  let down = false;
  return (state: BreakerState, reason: string | undefined): void => {
    metrics.breaker(name, state);
    if (state === "open" && !down) {
      down = true;
      log.warn(
        { facilitator: name, breaker: state, reason },
        "facilitator does not work; payments for it get 503",
      );
    } else if (state === "closed") {
      down = false;
      log.info({ facilitator: name, breaker: state }, "facilitator works again");
    }
  };
}

function openMember(
  facilitator: Facilitator,
  { merchant, memoryMs, log, clock = systemClock }: OpenFacilitatorsOptions,
  times: { readonly maxAgeMs: number; readonly cooldownMs: number },
  isHealthy: () => boolean,
): Omit<OpenedMember, "health"> & { readonly supported: SupportedCache } {
  const supported = createSupportedCache({ facilitator, ...times, clock });
  const offer = createOfferedTerms({ merchant, kinds: () => supported.get(), now: Date.now, memoryMs });
  supported.onChange(() => {
    if (offer.current() !== undefined) return;
    const { network } = merchant;
    log.warn({ facilitator: facilitator.name, network }, "facilitator does not settle exact payments here");
  });
  const member: FacilitatorMember = {
    facilitator,
    offer,
    isHealthy,
    hasAnswered: () => supported.get() !== undefined,
    refresh: () => void supported.refresh(),
  };
  return { member, supported, stop: () => supported.close() };
}

function createClients(
  settings: FacilitatorSettings,
  several: boolean,
  metrics: Metrics,
): Promise<readonly Facilitator[]> {
  return Promise.all(
    settings.facilitators.map(async (each) =>
      observeFacilitator(await createFacilitator(settings, each, several), metrics),
    ),
  );
}

function createFacilitator(
  settings: FacilitatorSettings,
  { url, ...own }: FacilitatorConfig,
  several: boolean,
): Promise<Facilitator> | Facilitator {
  const { cdpKeyId: keyId, cdpKeySecret: keySecret } = settings;
  const limits = {
    verifyTimeoutMs: own.verifyTimeoutMs ?? settings.verifyTimeoutMs,
    settleTimeoutMs: own.settleTimeoutMs ?? settings.settleTimeoutMs,
    ...(several ? { supportedTimeoutMs: HEALTH_TIMEOUT_MS } : {}),
  };
  return url === "coinbase"
    ? createCoinbaseFacilitator({ keyId, keySecret, ...limits })
    : createHttpFacilitator({ url, ...limits });
}

function observeFacilitator(facilitator: Facilitator, metrics: Metrics): Facilitator {
  return {
    name: facilitator.name,
    async verify(request, signal) {
      const result = await facilitator.verify(request, signal);
      metrics.facilitator("verify", result.outcome);
      return result;
    },
    async settle(request) {
      const started = performance.now();
      const result = await facilitator.settle(request);
      metrics.settled((performance.now() - started) / 1000);
      metrics.facilitator("settle", result.outcome);
      return result;
    },
    async supported() {
      const result = await facilitator.supported();
      metrics.facilitator("supported", result.outcome);
      return result;
    },
    close: () => facilitator.close(),
  };
}
