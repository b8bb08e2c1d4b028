import {
  type Address,
  address,
  createSolanaRpc,
  getAddressEncoder,
  getBase64Encoder,
  getProgramDerivedAddress,
} from "@solana/kit";
import { FareboxError } from "./farebox-error.ts";

/** Of USDC, and of most tokens. */
const TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
const ASSOCIATED_TOKEN_PROGRAM = address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
/** Offset of `amount` (u64, little endian) in a token account. */
const AMOUNT_OFFSET = 64;
const RPC_TIMEOUT_MS = 15_000;

/**
 * What an owner's associated token account holds, in atomic units; 0 if there is none.
 * Throws {@link FareboxError} `rpc_unreachable` when the node does not tell.
 */
export async function readTokenBalance(
  rpcUrl: string,
  owner: Address,
  mint: string,
  program?: string,
): Promise<bigint> {
  const account = await associatedTokenAccount(owner, address(mint), program);
  try {
    const { value } = await createSolanaRpc(rpcUrl)
      .getAccountInfo(account, { encoding: "base64", commitment: "confirmed" })
      .send({ abortSignal: AbortSignal.timeout(RPC_TIMEOUT_MS) });
    return value === null ? 0n : readAmount(value.data[0]);
  } catch (cause) {
    throw new FareboxError(
      "rpc_unreachable",
      `The Solana RPC at ${new URL(rpcUrl).origin} does not answer.`,
      {
        cause,
      },
    );
  }
}

/** Of a token program; the classic one, which USDC is of, unless another is named. */
export async function associatedTokenAccount(
  owner: Address,
  mint: Address,
  program = TOKEN_PROGRAM,
): Promise<Address> {
  const encoder = getAddressEncoder();
  const [account] = await getProgramDerivedAddress({
    programAddress: ASSOCIATED_TOKEN_PROGRAM,
    seeds: [encoder.encode(owner), encoder.encode(address(program)), encoder.encode(mint)],
  });
  return account;
}

function readAmount(base64: string): bigint {
  const data = getBase64Encoder().encode(base64);
  return new DataView(data.buffer, data.byteOffset, data.byteLength).getBigUint64(AMOUNT_OFFSET, true);
}
