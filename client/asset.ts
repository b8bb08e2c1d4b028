import { address, getBase64Encoder, isAddress } from "@solana/kit";
import { createRpcClient } from "@x402/svm";
import { FareboxError } from "./farebox-error.ts";

/** A token in the place of USDC: only where the caller has named it, and never without a limit of its own. */
export interface ChosenAsset {
  /** Base58. A symbol is not enough: a server may give any token any name. */
  readonly mint: string;
  /** What people call it. */
  readonly name: string;
  /** Nothing dearer is signed: whole tokens as a decimal text, or atomic units. */
  readonly maxAmount: string | bigint;
}

/** A mint, as the chain says. */
export interface Token {
  readonly name: string;
  readonly decimals: number;
  /** The token program that it is of, base58. */
  readonly program: string;
}

/** The play token of local mode; a test holds it to the local chain's. */
export const PLAY_MINT = "PLAY111111111111111111111111111111111111111";

const TOKEN_PROGRAMS: readonly string[] = [
  "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
  "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
];
const DECIMALS_OFFSET = 44;
const RPC_TIMEOUT_MS = 15_000;
const AMOUNT = /^(\d{1,20})(?:\.(\d+))?$/;

/**
 * The mint of a name: itself, or of `PLAY` on a local network; `"USDC"` for USDC, which needs no choosing. Undefined: the name
 * says no mint.
 */
export function mintOf(name: string, isLocal: boolean): string | undefined {
  if (name === "USDC") return name;
  if (name === "PLAY" && isLocal) return PLAY_MINT;
  return isAddress(name) ? name : undefined;
}

/** The options `asset` and `maxAmount`; undefined: USDC. Throws {@link FareboxError} `invalid_options`. */
export function chooseAsset(options: {
  readonly asset?: string;
  readonly maxAmount?: string | bigint;
  readonly local?: boolean;
}): ChosenAsset | undefined {
  const { asset = "USDC", maxAmount, local = false } = options;
  const mint = mintOf(asset, local);
  if (mint === undefined) {
    throw invalid("asset is the mint of a token (base58): a server may give any token any name");
  }
  if (mint === "USDC") {
    if (maxAmount !== undefined) throw invalid("maxAmount is for an asset; for USDC it is maxPrice");
    return undefined;
  }
  const isLimit = typeof maxAmount === "bigint" || (maxAmount !== undefined && isTokenAmount(maxAmount));
  if (!isLimit)
    throw invalid('an asset needs maxAmount, the most of it that may be signed for, such as "600"');
  return { mint, name: asset, maxAmount };
}

function invalid(problem: string): FareboxError {
  return new FareboxError("invalid_options", `new Farebox(…): ${problem}.`);
}

/**
 * Reads a mint from the chain: a server's word for its decimals would move the limit. Throws {@link FareboxError}
 * `rpc_unreachable`, or `not_payable` where there is no such mint.
 */
export async function readToken(
  network: `solana:${string}`,
  rpcUrl: string | undefined,
  { mint, name }: ChosenAsset,
): Promise<Token> {
  const found = await createRpcClient(network, rpcUrl)
    .getAccountInfo(address(mint), { encoding: "base64", commitment: "confirmed" })
    .send({ abortSignal: AbortSignal.timeout(RPC_TIMEOUT_MS) })
    .catch((cause: unknown) => {
      throw new FareboxError("rpc_unreachable", "The Solana RPC does not answer. Nothing was signed.", {
        cause,
      });
    });
  const { value } = found;
  const decimals = value === null ? undefined : getBase64Encoder().encode(value.data[0])[DECIMALS_OFFSET];
  if (value === null || decimals === undefined || !TOKEN_PROGRAMS.includes(value.owner)) {
    throw new FareboxError("not_payable", `${mint} is no token on ${network}. Nothing was signed.`);
  }
  return { name, decimals, program: value.owner };
}

/** "600.5" with 6 decimals -> 600500000n; undefined for anything that is no such amount. */
export function parseTokens(text: string, decimals: number): bigint | undefined {
  const [, whole, fraction = ""] = AMOUNT.exec(text) ?? [];
  if (whole === undefined || fraction.length > decimals) return undefined;
  return BigInt(whole + fraction.padEnd(decimals, "0"));
}

/** 600500000n with 6 decimals -> "600.5". */
export function formatTokens(amount: bigint, decimals: number): string {
  const digits = amount.toString().padStart(decimals + 1, "0");
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "");
  const whole = digits.slice(0, digits.length - decimals);
  return fraction === "" ? whole : `${whole}.${fraction}`;
}

/** Whether a text may be a {@link ChosenAsset.maxAmount}; how many decimals it may have the mint says. */
export function isTokenAmount(text: string): boolean {
  return AMOUNT.test(text);
}
