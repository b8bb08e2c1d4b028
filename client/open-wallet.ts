import {
  createKeyPairSignerFromBytes,
  createKeyPairSignerFromPrivateKeyBytes,
  getBase58Encoder,
  type TransactionSigner,
} from "@solana/kit";
import { FareboxError } from "./farebox-error.ts";

/** A signer of `@solana/kit`, or a secret key: the 64 numbers of a Solana keypair file, 32 of a seed, or either in base58. */
export type WalletSource = TransactionSigner | Uint8Array | readonly number[] | string;

/** Throws {@link FareboxError} `invalid_wallet`, without a cause: a parser's message may quote the key. */
export async function openWallet(source: WalletSource): Promise<TransactionSigner> {
  if (typeof source === "object" && "address" in source) return source;
  try {
    const bytes = Uint8Array.from(typeof source === "string" ? getBase58Encoder().encode(source) : source);
    return await (bytes.length === 32
      ? createKeyPairSignerFromPrivateKeyBytes(bytes)
      : createKeyPairSignerFromBytes(bytes));
  } catch {
    throw new FareboxError("invalid_wallet", "The wallet is no signer and no secret key of 64 or 32 bytes.");
  }
}
