import type { Address } from "@solana/kit";
import { formatTokens, PLAY_MINT } from "./asset.ts";
import { FareboxError } from "./farebox-error.ts";
import { askFaucet } from "./faucet.ts";
import { type PayArguments, UsageError } from "./pay-arguments.ts";
import type { Terms } from "./terms.ts";
import { readTokenBalance } from "./token-balance.ts";
import { formatUsd, type MicroUsd } from "./usd.ts";

const FAUCET_USD: MicroUsd = 5_000_000n;
/** 1000 PLAY. */
const FAUCET_PLAY = 1_000_000_000_000n;

/** Where the wallet's money is. */
export interface PayNetwork {
  /** Undefined: not local and none was named. */
  readonly rpcUrl: string | undefined;
  /** Only on a local network, where money is play money. */
  readonly faucetUrl: string | undefined;
}

/**
 * Decides between the local network and a real one. Local takes both: the server to be paid and the RPC are on the
 * loopback interface; so a real wallet is never topped up, and a local server never makes anyone sign against a real RPC
 * that was not named. Throws {@link UsageError} for a faucet elsewhere.
 */
export function findNetwork(
  { url, rpc, faucet }: Pick<PayArguments, "url" | "rpc" | "faucet">,
  env: NodeJS.ProcessEnv,
): PayNetwork {
  const named = rpc ?? (env["SOLANA_RPC_URL"] || undefined);
  if (isLoopback(url) && (named === undefined || isLoopback(new URL(named)))) {
    return {
      rpcUrl: named ?? `http://127.0.0.1:${env["LOCALNET_RPC_PORT"] || "8899"}`,
      faucetUrl: faucet ?? `http://127.0.0.1:${env["LOCALNET_FACILITATOR_PORT"] || "4022"}/faucet`,
    };
  }
  if (faucet !== undefined) throw new UsageError("--faucet is for a local server with a local RPC only");
  return { rpcUrl: named, faucetUrl: undefined };
}

/**
 * Makes sure that the wallet can pay, asking the faucet on a local network; tells what it did through `note`.
 * Throws {@link FareboxError}: `rpc_missing`, `rpc_unreachable`, `faucet_failed`, `insufficient_funds`.
 */
export async function ensureFunds(
  { rpcUrl, faucetUrl }: PayNetwork,
  owner: Address,
  terms: Terms,
  note: (line: string) => void,
): Promise<void> {
  const { asset, price, token } = terms;
  const named = token?.name ?? "USDC";
  const format = (amount: bigint): string =>
    token === undefined ? formatUsd(amount) : formatTokens(amount, token.decimals);
  if (rpcUrl === undefined) {
    throw new FareboxError("rpc_missing", "To pay, name a Solana RPC: set SOLANA_RPC_URL or pass --rpc.");
  }
  let balance = await readTokenBalance(rpcUrl, owner, asset, token?.program);
  if (balance < price && faucetUrl !== undefined && (token === undefined || asset === PLAY_MINT)) {
    const usual = token === undefined ? FAUCET_USD : FAUCET_PLAY;
    const amount = price > usual ? price : usual;
    const sum = format(amount);
    await askFaucet(faucetUrl, owner, token === undefined ? { usdc: sum } : { play: sum });
    note(`balance ${format(balance)} ${named}; the local faucet gave ${sum} (play money)`);
    balance = await readTokenBalance(rpcUrl, owner, asset, token?.program);
  }
  if (balance < price) {
    throw new FareboxError(
      "insufficient_funds",
      `The wallet ${owner} holds ${format(balance)} ${named} and the call costs ${format(price)}. Nothing was signed.`,
    );
  }
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}
