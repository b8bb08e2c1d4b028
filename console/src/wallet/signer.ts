import {
  address,
  assertIsTransactionWithinSizeLimit,
  getTransactionDecoder,
  getTransactionEncoder,
  type TransactionModifyingSigner,
} from "@solana/kit";
import { type Connected, signTransaction, WalletError } from "./wallets.ts";

/**
 * A wallet of a browser as the signer that the official payment client takes. A wallet may add instructions that guard its owner
 * (x402 allows them); what it made of the payment is what is sent, and the server checks it. `whenSigned` is called for each payment
 * that the wallet has signed; where it rejects, the payment is dropped and never sent.
 */
export function createWalletSigner(
  connected: Connected,
  network: string,
  whenSigned: () => Promise<void>,
): TransactionModifyingSigner {
  const encoder = getTransactionEncoder();
  const decoder = getTransactionDecoder();
  return {
    address: address(connected.account.address),
    async modifyAndSignTransactions(transactions) {
      const all = [];
      for (const asked of transactions) {
        // The bytes name the blockhash; until when it lives only what was asked to be signed tells.
        if (!("lifetimeConstraint" in asked))
          throw new WalletError("The payment has no end. Nothing was signed.");
        const bytes = await signTransaction(connected, network, Uint8Array.from(encoder.encode(asked)));
        const signed = { ...decoder.decode(bytes), lifetimeConstraint: asked.lifetimeConstraint };
        assertIsTransactionWithinSizeLimit(signed);
        await whenSigned();
        all.push(Object.freeze(signed));
      }
      return Object.freeze(all);
    },
  };
}
