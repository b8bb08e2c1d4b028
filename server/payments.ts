import { setTimeout } from "node:timers/promises";
import { bazaarExtension } from "../well-known/bazaar.ts";
import { jsonBytes } from "../well-known/fit.ts";
import { resourceOf } from "../well-known/resource.ts";
import type { PublishedRoute } from "../well-known/types.ts";
import { createClientAddress } from "./auth/client-address.ts";
import type { FloodConfig, PaymentConfig, ServiceConfig } from "./config.ts";
import { CORS_HEADERS } from "./cors.ts";
import { publishRoute } from "./discovery.ts";
import type { KeyedTier } from "./keyed-tier.ts";
import type { Ledger } from "./ledger/ledger.ts";
import { createPaymentReader } from "./payment/arrived-payment.ts";
import type { AssetOffers } from "./payment/asset-offers.ts";
import { createChallenges } from "./payment/challenge.ts";
import type { Facilitators, TermsSource } from "./payment/facilitators.ts";
import { createLeaseKeeper } from "./payment/leases.ts";
import type { NodePool } from "./payment/node-pool.ts";
import { paymentIdentifierExtension } from "./payment/payment-identifier.ts";
import { createPaywall, type Paywall, type RequestFacts } from "./payment/paywall.ts";
import { createProof } from "./payment/proof.ts";
import { createReconciler, type Reconciler } from "./payment/reconcile.ts";
import { createRefusedPayments } from "./payment/refused-payments.ts";
import type { MerchantTerms } from "./payment/terms.ts";
import { createTokenMint } from "./payment/token.ts";
import type { Receipts } from "./receipts/receipts.ts";
import { type Route, takesModel } from "./routes.ts";
import { walletUsage } from "./wallet-usage.ts";

/** What happens to payments, for the log and the metrics. */
export interface PaymentObserver {
  request(facts: RequestFacts): void;
  state(state: string): void;
  /** How many payments wait for the chain's verdict now. */
  undecided(count: number): void;
  /** An amount went onto a payer's wallet account. */
  credited(amount: bigint): void;
  fault(error: unknown, paymentId: string | undefined): void;
}

export interface PaymentsOptions {
  readonly merchant: MerchantTerms;
  readonly publicUrl: string;
  readonly service: Pick<ServiceConfig, "name" | "description" | "tags">;
  /** Public model names, for the sample call in the 402's bazaar extension. */
  readonly models: readonly string[];
  readonly memoSecrets: readonly string[];
  readonly settings: PaymentConfig;
  readonly bodyLimitBytes: number;
  readonly flood: Pick<FloodConfig, "refusedPaymentsPerMinute" | "trustedProxies">;
  readonly reconcileEveryMs: number;
  readonly ledger: Ledger;
  readonly facilitators: Facilitators;
  /** What credit can be paid in besides USDC. */
  readonly assets: AssetOffers;
  /** Undefined: nothing undecided can ever be decided. */
  readonly nodes: NodePool | undefined;
  readonly height: () => bigint | undefined;
  readonly observer: PaymentObserver;
  /** Undefined: wallets only. */
  readonly keyed: KeyedTier | undefined;
  /** A call of this route costs what its model and its body say. */
  readonly isQuoted: (route: Route) => boolean;
  /** Undefined: none are given. */
  readonly receipts: Receipts | undefined;
  /** The facilitator settles nothing smaller, MicroUsd. */
  readonly minimumPayment: bigint;
}

/** Everything a priced request goes through, put together; the gateway and the middleware share it. */
export interface Payments {
  readonly paywall: Paywall;
  readonly terms: TermsSource;
  readonly reconciler: Reconciler;
  /** Cuts off what still runs, and waits for what has ended to be recorded, before the ledger may be closed. */
  close(): Promise<void>;
}

export function createPayments(options: PaymentsOptions): Payments {
  const { ledger, facilitators, settings, observer, merchant } = options;
  const now = Date.now;
  const publish = (route: Route): PublishedRoute =>
    publishRoute(route, {
      ...merchant,
      models: takesModel(route) ? options.models : undefined,
    });
  const tokens = createTokenMint({ secrets: options.memoSecrets, ttlMs: settings.tokenTtlMs, clock: now });
  const leases = createLeaseKeeper(ledger, settings.leaseMs, (error) => observer.fault(error, undefined));
  const reconciler = createReconciler({
    ledger,
    renewLeases: leases.renew,
    nodes: options.nodes,
    leaseMs: settings.leaseMs,
    intervalMs: options.reconcileEveryMs,
    abandonedMs: settings.storeResponseTtlMs,
    strikeMs: settings.strikeMs,
    onDecided: (record, verdict) => {
      observer.state(`reconciled_${verdict}`);
      if (verdict === "settled" && record.watched) observer.credited(record.amount);
    },
    onBacklog: observer.undecided,
    onCredited: (record) => {
      observer.state("credited");
      observer.credited(record.amount);
    },
    onFault: observer.fault,
  });
  const paywall = createPaywall({
    challenges: createChallenges({
      terms: facilitators,
      tokens,
      assets: options.assets,
      publicUrl: options.publicUrl,
      resource: (route) =>
        resourceOf({ ...options.service, publicUrl: options.publicUrl, updatedAt: EPOCH }, publish(route)),
      v1: settings.v1,
      headers: CORS_HEADERS,
      extensions: (route, lessBytes) => extensionsOf(publish(route), settings.paymentIdentifier, lessBytes),
    }),
    reader: createPaymentReader({
      terms: facilitators,
      tokens,
      usdc: merchant.asset,
      assets: options.assets,
      v1: settings.v1,
      publicUrl: options.publicUrl,
      identifier: settings.paymentIdentifier,
    }),
    payments: {
      ledger,
      facilitators,
      leases,
      reconciler,
      refusals: createRefusedPayments(options.flood.refusedPaymentsPerMinute),
      leaseMs: settings.leaseMs,
      settleByMs: settings.settleByMs,
      strikeMs: settings.strikeMs,
      storeTtlMs: settings.storeResponseTtlMs,
      maxInFlight: settings.maxInFlightPerPayer,
      keepResponses: settings.storeResponses,
      height: options.height,
      now,
      proof: createProof(options.receipts),
      onUnknown: (id) => void reconciler.reconcile(id),
      onFault: observer.fault,
      onState: observer.state,
      onCredited: observer.credited,
      onFeePayerRefused: facilitators.refresh,
    },
    gate: {
      streamingTypes: settings.streamingTypes,
      gateBytes: settings.gateBytes,
      keepBytes: settings.storeResponses ? settings.storeResponseMaxBytes : 0,
    },
    keys: options.keyed?.paywall,
    desk: options.keyed?.desk,
    bodyLimitBytes: options.bodyLimitBytes,
    clientAddress: createClientAddress(options.flood.trustedProxies),
    isQuoted: ({ route }) => options.isQuoted(route),
    minimumPayment: options.minimumPayment,
    observe: observer.request,
    usageOf: walletUsage,
    onWalletCall: (visit, charged, notCharged) => {
      walletUsage(visit, notCharged)
        .then((facts) => ledger.recordUsage(facts, charged))
        .catch((error: unknown) => observer.fault(error, undefined));
    },
    onFault: (error) => observer.fault(error, undefined),
  });
  return {
    paywall,
    terms: facilitators,
    reconciler,
    async close() {
      // A connection is gone before what became of its charge is recorded.
      paywall.cutOff();
      await untilReleased(() => leases.size + (options.keyed?.holds.size ?? 0));
      leases.close();
      await options.keyed?.close();
      await reconciler.close();
    },
  };
}

/** How long a shutdown waits for the last steps of charges; after it the reconciler decides them at the next start. */
const LAST_STEPS_MS = 5_000;
const LAST_STEPS_POLL_MS = 5;

async function untilReleased(running: () => number): Promise<void> {
  const deadline = performance.now() + LAST_STEPS_MS;
  while (running() > 0 && performance.now() < deadline) await setTimeout(LAST_STEPS_POLL_MS);
}

/** A 402's resource does not say when it changed. */
const EPOCH = new Date(0);

function extensionsOf(
  route: PublishedRoute,
  identifier: PaymentConfig["paymentIdentifier"],
  lessBytes: number,
): Readonly<Record<string, unknown>> {
  const usual = bazaarExtension(route);
  const bazaar = usual && lessBytes > 0 ? bazaarExtension(route, jsonBytes(usual) - lessBytes) : usual;
  return {
    ...(bazaar === undefined ? {} : { bazaar }),
    ...(identifier === "off"
      ? {}
      : { "payment-identifier": paymentIdentifierExtension(identifier === "required") }),
  };
}
