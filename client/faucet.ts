import { FareboxError } from "./farebox-error.ts";

const FAUCET_TIMEOUT_MS = 15_000;

/**
 * Asks the faucet of a local network for play money. Never to be called for a real network.
 * Throws {@link FareboxError} `faucet_failed`.
 */
export async function askFaucet(
  faucetUrl: string,
  owner: string,
  gift: { readonly usdc: string } | { readonly play: string },
): Promise<void> {
  let status: number;
  try {
    const response = await fetch(faucetUrl, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ address: owner, ...gift }),
      signal: AbortSignal.timeout(FAUCET_TIMEOUT_MS),
    });
    await response.body?.cancel();
    status = response.status;
  } catch (cause) {
    throw new FareboxError("faucet_failed", `The local faucet at ${faucetUrl} does not answer.`, { cause });
  }
  if (status >= 400) throw new FareboxError("faucet_failed", `The local faucet answered ${status}.`);
}
