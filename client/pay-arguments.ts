import { parseArgs } from "node:util";
import { isTokenAmount } from "./asset.ts";
import { type MicroUsd, parseUsd } from "./usd.ts";

export const USAGE = `Usage: npm run --silent pay -- <url> [options]

Asks a URL, pays on Solana if it answers 402 (in USDC, unless told otherwise), and prints the reply to stdout.

  -X, --method METHOD   default GET, or POST with -d
  -H, --header LINE     "Name: value"; may be repeated
  -d, --data BODY       request body; @file reads a file
      --max USD         refuse to pay more than this (default 0.05)
      --asset MINT      pay in this token instead of USDC: its mint, or PLAY on the local network
      --max-amount N    refuse to pay more of that token than this; needed with --asset
      --keypair FILE    Solana keypair (default $FAREBOX_WALLET, else .farebox/wallet.json; made if missing)
      --rpc URL         Solana RPC (default $SOLANA_RPC_URL; for a local server the local network's)
      --faucet URL      the local network's faucet; never used for another network
      --json            print one JSON object {status, price, asset, amount, payer, transaction, body}
      --quiet           no status lines on stderr
      --help            this text

Exit codes: 0 paid and answered, 1 the call failed, 2 usage, 3 too dear or not payable.
`;

/** The command line of `pay`, checked. */
export interface PayArguments {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  /** A literal body, or the file that holds it. */
  readonly data: { readonly text: string } | { readonly file: string } | undefined;
  readonly maxPrice: MicroUsd;
  /** Undefined: USDC. */
  readonly asset: { readonly name: string; readonly maxAmount: string } | undefined;
  readonly keypair: string | undefined;
  readonly rpc: string | undefined;
  readonly faucet: string | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
}

/** The words of the command line do not make sense; the message names the one that was wrong. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const OPTIONS = {
  method: { type: "string", short: "X" },
  header: { type: "string", short: "H", multiple: true },
  data: { type: "string", short: "d" },
  max: { type: "string" },
  asset: { type: "string" },
  "max-amount": { type: "string" },
  keypair: { type: "string" },
  rpc: { type: "string" },
  faucet: { type: "string" },
  json: { type: "boolean" },
  quiet: { type: "boolean" },
  help: { type: "boolean" },
} as const;

/** Reads the command line; `"help"` if that was asked for. Throws {@link UsageError}. */
export function parsePayArguments(words: readonly string[]): PayArguments | "help" {
  const { values, positionals } = split(words);
  if (values.help === true) return "help";
  const [target, ...rest] = positionals;
  if (target === undefined) throw new UsageError("the URL is missing");
  if (rest.length > 0) throw new UsageError(`one URL at a time; what is ${JSON.stringify(rest[0])}?`);
  const method = (values.method ?? (values.data === undefined ? "GET" : "POST")).toUpperCase();
  if (values.data !== undefined && (method === "GET" || method === "HEAD")) {
    throw new UsageError(`${method} cannot carry a body`);
  }
  return {
    url: readHttpUrl("the URL", target),
    method: readMethod(method),
    headers: readHeaders(values.header ?? []),
    data: readData(values.data),
    maxPrice: readMax(values.max ?? "0.05"),
    asset: readAsset(values.asset ?? "USDC", values["max-amount"], values.max),
    keypair: values.keypair,
    rpc: values.rpc === undefined ? undefined : readHttpUrl("--rpc", values.rpc).href,
    faucet: values.faucet === undefined ? undefined : readHttpUrl("--faucet", values.faucet).href,
    json: values.json === true,
    quiet: values.quiet === true,
  };
}

function split(words: readonly string[]) {
  try {
    return parseArgs({ args: [...words], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "unreadable");
  }
}

function readHttpUrl(what: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new UsageError(`${what} must be an http or https URL, not ${JSON.stringify(text)}`);
  }
  if (url.username !== "" || url.password !== "") throw new UsageError(`${what} must not carry credentials`);
  return url;
}

function readMethod(method: string): string {
  if (!/^[A-Z]+$/.test(method)) throw new UsageError(`${JSON.stringify(method)} is not a method`);
  return method;
}

function readHeaders(lines: readonly string[]): Headers {
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    try {
      headers.append(line.slice(0, Math.max(colon, 0)).trim(), line.slice(colon + 1).trim());
    } catch {
      throw new UsageError(`-H needs "Name: value", not ${JSON.stringify(line)}`);
    }
  }
  return headers;
}

function readData(data: string | undefined): PayArguments["data"] {
  if (data === undefined) return undefined;
  return data.startsWith("@") ? { file: data.slice(1) } : { text: data };
}

function readMax(text: string): MicroUsd {
  const max = parseUsd(text);
  if (max === undefined)
    throw new UsageError(`--max is an amount in USD such as 0.05, not ${JSON.stringify(text)}`);
  return max;
}

/** A limit in dollars says nothing of another token, so it has one of its own. */
function readAsset(
  name: string,
  maxAmount: string | undefined,
  maxUsd: string | undefined,
): PayArguments["asset"] {
  if (name === "USDC") {
    if (maxAmount !== undefined) throw new UsageError("--max-amount is for --asset; for USDC it is --max");
    return undefined;
  }
  if (maxUsd !== undefined) throw new UsageError("--max is for USDC; for --asset it is --max-amount");
  if (maxAmount === undefined) {
    throw new UsageError("--asset needs --max-amount, the most of it that may be paid");
  }
  if (!isTokenAmount(maxAmount)) {
    throw new UsageError(`--max-amount is an amount of tokens such as 600, not ${JSON.stringify(maxAmount)}`);
  }
  return { name, maxAmount };
}
