import { parseSince } from "../admin/inputs.ts";
import { money } from "../admin/views.ts";
import { checkChain } from "../chain-check/check-chain.ts";
import type { ChainReport } from "../chain-check/report.ts";
import type { Config } from "../config.ts";
import { GatewayError } from "../errors.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { hasLedger } from "../ledger/open-ledger.ts";
import { openNodes } from "../open-nodes.ts";
import { createReconciler } from "../payment/reconcile.ts";
import type { Invocation } from "./command.ts";
import { fail, print, printJson, table, USAGE_ERROR } from "./output.ts";
import { load, openStore } from "./store.ts";

const DIFFERS = 1;
/** Also what a wrong command line gives: in either case nothing was found out. */
const NOT_CHECKED = 2;
const PROGRESS_EVERY_MS = 5_000;

/** `farebox check --chain`: compares the ledger with the chain. Resolves to the exit code. */
export async function checkWithChain(invocation: Invocation): Promise<number> {
  const config = load(invocation);
  if (config === undefined) return USAGE_ERROR;
  const give = (code: string, message: string): number =>
    fail(invocation.json ? JSON.stringify({ error: { code, message } }) : `farebox check: ${message}`);
  if (!hasLedger(config)) return give("no_ledger", `there is no ledger in ${config.dataDir}`);
  let ledger: Ledger | undefined;
  try {
    const since = parseSince(invocation.flags["since"], Date.now());
    ledger = await openStore(config);
    const report = await compare(config, ledger, since, invocation.switches.has("credit"));
    return tell(report, invocation.json);
  } catch (error) {
    if (error instanceof GatewayError) return give(error.code, error.message);
    // Whatever stopped it: not every payment was looked at.
    give("not_checked", `could not check: ${error instanceof Error ? error.message : String(error)}`);
    return NOT_CHECKED;
  } finally {
    await ledger?.close();
  }
}

async function compare(
  config: Config,
  ledger: Ledger,
  since: number | undefined,
  credit: boolean,
): Promise<ChainReport> {
  const local = config.network === "local" ? [`http://127.0.0.1:${config.localnetRpcPort}`] : [];
  const rpcUrls = config.rpcUrls.length > 0 ? config.rpcUrls : local;
  const nodes = openNodes({ rpcUrls, asset: config.asset, caip2: config.caip2 }, tellNode);
  if (nodes === undefined) throw new Error("rpcUrl is not set");
  const ignore = () => {};
  const reconciler = createReconciler({
    ...{ ledger, nodes, leaseMs: config.payment.leaseMs },
    // It never sweeps here: only what is named is asked about.
    ...{ intervalMs: 0, abandonedMs: config.payment.storeResponseTtlMs, strikeMs: config.payment.strikeMs },
    ...{ onDecided: ignore, onBacklog: ignore, onCredited: ignore },
    onFault: (error) => void fail(error instanceof Error ? error.message : String(error)),
  });
  try {
    return await checkChain({
      ...{ ledger, nodes, since, credit, asset: config.asset, network: config.caip2, payTo: config.payTo },
      otherAssets: config.topUpTokens.map(({ mint }) => mint),
      reconcile: (id) => reconciler.reconcile(id),
      now: Date.now,
      onProgress: progress(),
    });
  } finally {
    await reconciler.close();
  }
}

function tellNode(node: number, state: string): void {
  fail(`RPC node ${node}: ${state}`);
}

/** Tells where a long run is, on stderr. */
function progress(): (payments: number, transactions: number) => void {
  let told = performance.now();
  return (payments, transactions) => {
    if (performance.now() - told < PROGRESS_EVERY_MS) return;
    told = performance.now();
    fail(`payments checked: ${payments}, transactions: ${transactions}`);
  };
}

function tell({ payments, transactions, differences, undecided }: ChainReport, json: boolean): number {
  const ok = differences.every(({ credited }) => credited);
  const listed = differences.map(({ amount, asset, assetAmount, account, state, transaction, ...rest }) => ({
    ...rest,
    state: state ?? null,
    account: account ?? null,
    transaction: transaction ?? null,
    ...money("amount", amount),
    asset,
    asset_amount: assetAmount.toString(),
  }));
  const waiting = undecided.map((each) => ({
    ...each,
    state: each.state ?? null,
    transaction: each.transaction ?? null,
  }));
  if (json) printJson({ ok, payments, transactions, differences: listed, undecided: waiting });
  else print(describe(payments, transactions, listed, waiting));
  return ok ? 0 : DIFFERS;
}

function describe(
  payments: number,
  transactions: number,
  differences: readonly object[],
  undecided: readonly object[],
): string {
  const lines = [
    `payments checked      ${payments}`,
    `transactions checked  ${transactions}`,
    "",
    ...(differences.length === 0 ? ["ledger and chain agree"] : []),
  ];
  if (differences.length > 0) {
    const columns = [
      ...["problem", "credited", "state", "amount_usd", "account", "payment", "transaction"],
      ...["asset_amount", "asset"],
    ];
    lines.push(table(differences, columns));
  }
  if (undecided.length > 0) {
    lines.push("", "not decided yet", table(undecided, ["reason", "state", "payment", "transaction"]));
  }
  return lines.join("\n");
}
