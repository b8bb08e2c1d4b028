import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { Writable } from "node:stream";
import { SOLANA_DEVNET_CAIP2, SOLANA_MAINNET_CAIP2, SOLANA_TESTNET_CAIP2 } from "@x402/svm";
import { formatTokens, mintOf } from "./asset.ts";
import { Farebox } from "./farebox.ts";
import { type ClientErrorCode, FareboxError } from "./farebox-error.ts";
import { type PayArguments, parsePayArguments, USAGE, UsageError } from "./pay-arguments.ts";
import { ensureFunds, findNetwork, type PayNetwork } from "./pay-network.ts";
import { describeAnswer, describeEvent } from "./pay-report.ts";
import type { PaymentEvent, Receipt } from "./payment-fetch.ts";
import { judge } from "./resend-policy.ts";
import type { Terms } from "./terms.ts";
import { formatUsd } from "./usd.ts";
import { loadOrCreateWallet, type Wallet } from "./wallet.ts";

const DEFAULT_WALLET = ".farebox/wallet.json";
const NETWORKS = [SOLANA_MAINNET_CAIP2, SOLANA_DEVNET_CAIP2, SOLANA_TESTNET_CAIP2];
const MAX_ATTEMPTS = 10;
const MAX_WAIT_MS = 120_000;
const NOT_PAYABLE: ReadonlySet<string> = new Set<ClientErrorCode>([
  "terms_unreadable",
  "not_payable",
  "too_dear",
  "insufficient_funds",
  "rpc_missing",
]);

/** What the command needs of its process. */
export interface PayStreams {
  readonly env: NodeJS.ProcessEnv;
  /** The reply and nothing else. */
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** The facts of a paid call, gathered while it runs. */
interface Paid {
  terms?: Terms;
  payer?: string;
  receipt?: Receipt;
  isResent?: true;
}

/** The `pay` command. Resolves with the exit code (see {@link USAGE}); never throws for a call that fails. */
export async function runPay(words: readonly string[], streams: PayStreams): Promise<number> {
  const { stdout, stderr } = streams;
  try {
    const args = parsePayArguments(words);
    if (args === "help") {
      stdout.write(USAGE);
      return 0;
    }
    return await pay(args, streams);
  } catch (error) {
    if (error instanceof UsageError) {
      stderr.write(`pay: ${error.message}\nTry: npm run --silent pay -- --help\n`);
      return 2;
    }
    stderr.write(`pay: ${error instanceof Error ? error.message : "something failed"}\n`);
    return error instanceof FareboxError && NOT_PAYABLE.has(error.code) ? 3 : 1;
  }
}

async function pay(args: PayArguments, { env, stdout, stderr }: PayStreams): Promise<number> {
  const note = (line: string) => void (args.quiet || stderr.write(`${line}\n`));
  const network = findNetwork(args, env);
  const body = await readBody(args.data);
  const path = args.keypair ?? (env["FAREBOX_WALLET"] || DEFAULT_WALLET);
  const wallet = await loadOrCreateWallet(path);
  if (wallet.isNew) note(`made the wallet ${wallet.signer.address} in ${path}`);
  if (wallet.isExposed) note(`warning: others on this machine can read ${path}; chmod 600 it`);

  const paid: Paid = {};
  if (args.asset !== undefined && mintOf(args.asset.name, network.faucetUrl !== undefined) === undefined) {
    throw new UsageError("--asset is the mint of a token (base58), or PLAY on the local network");
  }
  const farebox = fareboxFor(args, network, wallet, paid, note);
  const response = await farebox.request(args.url, {
    method: args.method,
    headers: headersFor(args, body),
    body,
  });
  note(describeAnswer(response));
  if (await wasNotTaken(response, paid))
    note("no receipt came with it: by this answer, the payment was not taken");
  try {
    await (args.json ? printJson(response, paid, stdout) : copyBody(response, stdout));
  } catch (cause) {
    const hint =
      paid.receipt?.success === true ? ` It was paid: transaction ${paid.receipt.transaction}.` : "";
    throw new Error(`the reply broke off.${hint}`, { cause });
  }
  return response.status < 400 ? 0 : 1;
}

/** A failure of the server may come after the payment, as may another server's 402, and so may what answers a payment that was sent before. */
async function wasNotTaken(response: Response, { payer, receipt, isResent }: Paid): Promise<boolean> {
  if (payer === undefined || receipt !== undefined || response.status >= 500) return false;
  const { kind } = await judge(response);
  return kind === "refused" || (kind === "unspent" && response.status !== 402 && isResent !== true);
}

function fareboxFor(
  args: PayArguments,
  network: PayNetwork,
  { signer }: Wallet,
  paid: Paid,
  note: (line: string) => void,
) {
  const onEvent = (event: PaymentEvent) => {
    if (event.type === "terms") paid.terms = event.terms;
    if (event.type === "signed") paid.payer = event.payer;
    if (event.type === "receipt") paid.receipt = event.receipt;
    if (event.type === "resend") paid.isResent = true;
    note(describeEvent(event));
  };
  return new Farebox({
    baseUrl: args.url.origin,
    wallet: signer,
    rpcUrl: network.rpcUrl,
    maxPrice: args.maxPrice,
    local: network.faucetUrl !== undefined,
    ...(args.asset === undefined ? {} : { asset: args.asset.name, maxAmount: args.asset.maxAmount }),
    networks: NETWORKS,
    maxAttempts: MAX_ATTEMPTS,
    maxUnknownWaitMs: MAX_WAIT_MS,
    // People and pipes want the bytes as they come.
    wholeAnswers: false,
    onEvent,
    beforeSigning: (terms) => ensureFunds(network, signer.address, terms, note),
  });
}

async function readBody(data: PayArguments["data"]): Promise<Buffer<ArrayBuffer> | null> {
  if (data === undefined) return null;
  if ("text" in data) return Buffer.from(data.text);
  try {
    return await readFile(data.file);
  } catch {
    throw new UsageError(`-d @${data.file}: the file cannot be read`);
  }
}

function headersFor({ headers }: PayArguments, body: Buffer | null): Headers {
  if (body === null || headers.has("content-type") || !isJson(body)) return headers;
  const typed = new Headers(headers);
  typed.set("content-type", "application/json");
  return typed;
}

function isJson(body: Buffer): boolean {
  return parseJson(body.toString("utf8")) !== undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Chunk by chunk as they come; waits for a slow reader of stdout. */
async function copyBody(response: Response, stdout: Writable): Promise<void> {
  if (response.body === null) return;
  for await (const chunk of response.body) {
    if (!stdout.write(chunk)) await once(stdout, "drain");
  }
}

/** `price` is in dollars, which only USDC has. */
function sumOf(terms: Terms | undefined) {
  if (terms === undefined) return { price: null, asset: null, amount: null };
  const { price, asset, token } = terms;
  if (token === undefined) return { price: formatUsd(price), asset, amount: formatUsd(price) };
  return { price: null, asset, amount: formatTokens(price, token.decimals) };
}

async function printJson(response: Response, { terms, payer, receipt }: Paid, stdout: Writable) {
  const text = await response.text();
  const report = {
    status: response.status,
    ...sumOf(terms),
    payer: receipt?.payer ?? payer ?? null,
    transaction: receipt?.success === true ? receipt.transaction : null,
    body: parseJson(text) ?? text,
  };
  stdout.write(`${JSON.stringify(report)}\n`);
}
