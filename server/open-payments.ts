import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createCoinbaseFacilitator } from "../facilitator-client/coinbase.ts";
import { createHttpFacilitator } from "../facilitator-client/http-facilitator.ts";
import { createSupportedCache } from "../facilitator-client/supported-cache.ts";
import type { Facilitator } from "../facilitator-client/types.ts";
import type { Config, ModelConfig } from "./config.ts";
import { type KeyedTier, type KeyedTierSettings, openKeyedTier } from "./keyed-tier.ts";
import type { Ledger } from "./ledger/ledger.ts";
import { openSqliteLedger } from "./ledger/sqlite.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { observePayments } from "./observe-payments.ts";
import type { Chain } from "./payment/chain.ts";
import { createHeightTracker } from "./payment/height-tracker.ts";
import { createRpcChain } from "./payment/rpc-chain.ts";
import type { MerchantTerms } from "./payment/terms.ts";
import { createPayments, type Payments } from "./payments.ts";
import { quotedRoutes } from "./quoted-routes.ts";

/** The settings that selling needs, whether a gateway or a middleware sells. */
export type PaymentSettings = Pick<
  Config,
  | "network"
  | "caip2"
  | "asset"
  | "payTo"
  | "publicUrl"
  | "rpcUrl"
  | "facilitator"
  | "cdpKeyId"
  | "cdpKeySecret"
  | "verifyTimeoutMs"
  | "settleTimeoutMs"
  | "dataDir"
  | "memoSecrets"
  | "payment"
  | "bodyLimitBytes"
  | "flood"
> & {
  readonly service: Pick<Config["service"], "name" | "description" | "tags">;
  readonly models: readonly (Pick<ModelConfig, "name"> & Partial<Pick<ModelConfig, "pricing">>)[];
};

export interface OpenedPayments {
  readonly keyed: KeyedTier | undefined;
  readonly payments: Payments;
  readonly ledger: Ledger;
  readonly merchant: MerchantTerms;
  close(): Promise<void>;
}

export interface OpenPaymentsOptions {
  readonly settings: PaymentSettings;
  /** Undefined: wallets only. */
  readonly keyedTier: KeyedTierSettings | undefined;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The ledger can no longer be trusted to record: the process must stop. */
  readonly onFatal: (error: Error) => void;
}

const RPC_TIMEOUT_MS = 5_000;
const HEIGHT_EVERY_MS = 5_000;
const RECONCILE_EVERY_MS = 5_000;
const SUPPORTED_MAX_AGE_MS = 300_000;
const SUPPORTED_COOLDOWN_MS = 3_000;

/** Opens the ledger, the facilitator and the chain, and puts the payment parts together. Rejects if the ledger will not open. */
export async function openPayments(options: OpenPaymentsOptions): Promise<OpenedPayments> {
  const { settings, log, metrics, onFatal } = options;
  const { payTo, rpcUrl, asset } = settings;
  if (payTo === undefined) throw new Error("payTo is not set: nobody to pay");
  const facilitator = observeFacilitator(await createFacilitator(settings), metrics);
  mkdirSync(settings.dataDir, { recursive: true });
  const ledger = await openSqliteLedger({
    path: join(settings.dataDir, "ledger.sqlite"),
    network: settings.network === "local" ? "local" : settings.caip2,
    onFatal,
  });
  const supported = createSupportedCache({
    facilitator,
    maxAgeMs: SUPPORTED_MAX_AGE_MS,
    cooldownMs: SUPPORTED_COOLDOWN_MS,
  });
  const chain =
    rpcUrl === undefined ? undefined : createRpcChain({ url: rpcUrl, timeoutMs: RPC_TIMEOUT_MS, asset });
  const heights = chain && createHeightTracker({ chain, intervalMs: HEIGHT_EVERY_MS });
  const merchant = merchantTerms(settings, payTo);
  const observer = observePayments(log, metrics);
  const keyed = options.keyedTier && openKeyedTier(options.keyedTier, ledger, log);
  const payments = createPayments({
    merchant,
    publicUrl: settings.publicUrl,
    service: settings.service,
    models: settings.models.map(({ name }) => name),
    memoSecrets: settings.memoSecrets,
    settings: settings.payment,
    bodyLimitBytes: settings.bodyLimitBytes,
    flood: settings.flood,
    reconcileEveryMs: RECONCILE_EVERY_MS,
    ledger,
    facilitator,
    supported,
    chain,
    height: () => heights?.upperBound(),
    observer,
    keyed,
    isQuoted: quotedRoutes(settings.models),
    minimumPayment: settings.facilitator === "coinbase" ? CDP_MINIMUM : 1n,
  });
  payments.reconciler.start();
  if (chain !== undefined) void warnIfNoTokenAccount(chain, payTo, asset, log);
  return {
    payments,
    keyed,
    ledger,
    merchant,
    async close() {
      supported.close();
      heights?.close();
      await payments.close();
      await facilitator.close();
      await ledger.close();
    },
  };
}

/** Coinbase's facilitator settles nothing below $0.001. */
const CDP_MINIMUM = 1_000n;

function merchantTerms(settings: PaymentSettings, payTo: string): MerchantTerms {
  const { network, payment } = settings;
  const nameV1 = network === "solana-devnet" ? "solana-devnet" : "solana";
  return {
    network: settings.caip2,
    networkV1: payment.v1 ? nameV1 : undefined,
    asset: settings.asset,
    payTo,
    maxTimeoutSeconds: payment.maxTimeoutSeconds,
  };
}

function createFacilitator(settings: PaymentSettings): Promise<Facilitator> | Facilitator {
  const {
    facilitator,
    verifyTimeoutMs,
    settleTimeoutMs,
    cdpKeyId: keyId,
    cdpKeySecret: keySecret,
  } = settings;
  if (facilitator === undefined) throw new Error("facilitator is not set: nobody settles");
  if (facilitator === "coinbase") {
    return createCoinbaseFacilitator({ keyId, keySecret, verifyTimeoutMs, settleTimeoutMs });
  }
  return createHttpFacilitator({ url: facilitator, verifyTimeoutMs, settleTimeoutMs });
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

/** Without it every payment fails its simulation; no facilitator creates it. */
async function warnIfNoTokenAccount(chain: Chain, payTo: string, asset: string, log: Logger): Promise<void> {
  try {
    const account = await chain.tokenAccount(payTo, asset);
    if (account.exists) return;
    log.error(
      { payTo, tokenAccount: account.address, mint: asset },
      `payTo has no token account for this asset, so every payment will be refused. Create it once: spl-token create-account ${asset} --owner ${payTo} --fee-payer <keypair>`,
    );
  } catch (error) {
    log.warn({ err: error }, "could not look up payTo's token account; the RPC node did not answer");
  }
}
