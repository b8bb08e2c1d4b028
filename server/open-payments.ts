import type { Clock } from "../facilitator-client/clock.ts";
import type { Config, ModelConfig } from "./config.ts";
import { takePepper } from "./key-pepper.ts";
import { type KeyedTier, type KeyedTierSettings, openKeyedTier } from "./keyed-tier.ts";
import type { Ledger } from "./ledger/ledger.ts";
import { openLedger } from "./ledger/open-ledger.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { observeLedger, observeNodes, observePayments } from "./observe-payments.ts";
import { type OpenedFacilitators, openFacilitators } from "./open-facilitators.ts";
import { openNodes } from "./open-nodes.ts";
import { openOrClose } from "./open-or-close.ts";
import type { Facilitators } from "./payment/facilitators.ts";
import { createHeightTracker } from "./payment/height-tracker.ts";
import type { NodePool } from "./payment/node-pool.ts";
import type { MerchantTerms } from "./payment/terms.ts";
import { createPayments, type Payments } from "./payments.ts";
import { quotedRoutes } from "./quoted-routes.ts";
import type { Receipts } from "./receipts/receipts.ts";
import { openTopUpTokens, type TopUpTokens } from "./top-up-tokens.ts";

/** The settings that selling needs, whether a gateway or a middleware sells. */
export type PaymentSettings = Pick<
  Config,
  | "network"
  | "caip2"
  | "asset"
  | "payTo"
  | "publicUrl"
  | "rpcUrls"
  | "facilitators"
  | "cdpKeyId"
  | "cdpKeySecret"
  | "verifyTimeoutMs"
  | "settleTimeoutMs"
  | "dataDir"
  | "ledger"
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
  /** What credit can be paid in besides USDC. */
  readonly topUpTokens: TopUpTokens;
  /** Undefined: none is configured. */
  readonly nodes: NodePool | undefined;
  /** How each facilitator is; empty if there is only one. */
  readonly facilitatorHealth: OpenedFacilitators["health"];
  close(): Promise<void>;
}

export interface OpenPaymentsOptions {
  readonly settings: PaymentSettings;
  /** Undefined: wallets only. */
  readonly keyedTier: KeyedTierSettings | undefined;
  /** Undefined: none are given. */
  readonly receipts?: Receipts | undefined;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The ledger can no longer be trusted to record: the process must stop. */
  readonly onFatal: (error: Error) => void;
  /** When facilitators are asked what they support; default: the machine's. */
  readonly clock?: Clock | undefined;
}

const HEIGHT_EVERY_MS = 5_000;
const RECONCILE_EVERY_MS = 5_000;
const SHARED =
  "another gateway serves from this data directory: a ledger in SQLite belongs to one, several share one in Redis (LEDGER_URL)";

/**
 * Opens the ledger, the facilitator and the chain, and puts the payment parts together. Rejects, and leaves nothing
 * open, if the ledger will not open, or a token's mint is not what the settings say.
 */
export async function openPayments(options: OpenPaymentsOptions): Promise<OpenedPayments> {
  const { settings, log, metrics, onFatal } = options;
  const { payTo, asset } = settings;
  if (payTo === undefined) throw new Error("payTo is not set: nobody to pay");
  const merchant = merchantTerms(settings, payTo);
  const memoryMs = settings.payment.tokenTtlMs;
  const { clock } = options;
  const nodes = openNodes(settings, observeNodes(log, metrics));
  const tokens = options.keyedTier?.topUpTokens ?? [];
  const topUpTokens = await openTopUpTokens({ tokens, nodes, payTo, log, now: () => Date.now() });
  const opened = await openOrClose(
    () => openFacilitators({ settings, merchant, memoryMs, log, metrics, clock }),
    topUpTokens.close,
  );
  const onShared = (): void => log.warn({ dataDir: settings.dataDir }, SHARED);
  async function closeFirst(): Promise<void> {
    opened.stop();
    topUpTokens.close();
    await opened.close();
  }
  const ledger = await openOrClose(
    () => openLedger(settings, { onFatal, onConnectionError: observeLedger(log), serving: { onShared } }),
    closeFirst,
  );
  const closeBase = () => closeFirst().finally(() => ledger.close());
  const sales = await openOrClose(
    () => openSales(options, { merchant, ledger, nodes, topUpTokens, facilitators: opened.facilitators }),
    closeBase,
  );
  sales.payments.reconciler.start();
  if (nodes !== undefined) void warnIfNoTokenAccount(nodes, payTo, asset, log);
  return {
    payments: sales.payments,
    keyed: sales.keyed,
    ledger,
    merchant,
    topUpTokens,
    nodes,
    facilitatorHealth: opened.health,
    async close() {
      opened.stop();
      topUpTokens.close();
      sales.heights?.close();
      await sales.payments.close();
      await closeBase();
    },
  };
}

interface SalesParts {
  readonly merchant: MerchantTerms;
  readonly ledger: Ledger;
  readonly nodes: NodePool | undefined;
  readonly topUpTokens: TopUpTokens;
  readonly facilitators: Facilitators;
}

/** What runs on an open ledger: both tiers, and the watch on the chain's height. */
async function openSales(
  { settings, keyedTier, receipts, log, metrics }: OpenPaymentsOptions,
  parts: SalesParts,
) {
  const { merchant, ledger, nodes, topUpTokens, facilitators } = parts;
  if (keyedTier !== undefined) await takePepper(ledger, keyedTier.keys);
  const keyed = keyedTier && openKeyedTier(keyedTier, ledger, log);
  const heights = nodes && createHeightTracker({ chain: nodes, intervalMs: HEIGHT_EVERY_MS });
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
    facilitators,
    assets: topUpTokens.offers,
    nodes,
    height: () => heights?.upperBound(),
    observer: observePayments(log, metrics),
    keyed,
    receipts,
    isQuoted: quotedRoutes(settings.models),
    minimumPayment: settings.facilitators.some(({ url }) => url === "coinbase") ? CDP_MINIMUM : 1n,
  });
  return { keyed, heights, payments };
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

/** Without it every payment fails its simulation; no facilitator creates it. */
async function warnIfNoTokenAccount(
  nodes: NodePool,
  payTo: string,
  asset: string,
  log: Logger,
): Promise<void> {
  try {
    const account = await nodes.ask((node) => node.tokenAccount(payTo, asset));
    if (account.exists) return;
    log.error(
      { payTo, tokenAccount: account.address, mint: asset },
      `payTo has no token account for this asset, so every payment will be refused. Create it once: spl-token create-account ${asset} --owner ${payTo} --fee-payer <keypair>`,
    );
  } catch (error) {
    log.warn({ err: error }, "could not look up payTo's token account; the RPC node did not answer");
  }
}
