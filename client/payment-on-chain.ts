import { address, blockhash, getCompiledTransactionMessageDecoder } from "@solana/kit";
import { decodePaymentSignatureHeader } from "@x402/core/http";
import {
  createRpcClient,
  decodeTransactionFromPayload,
  getTokenPayerFromTransaction,
  MEMO_PROGRAM_ADDRESS,
  TOKEN_2022_PROGRAM_ADDRESS,
} from "@x402/svm";
import { z } from "zod";
import type { Payment } from "./payment.ts";
import { associatedTokenAccount } from "./token-balance.ts";

/** A blockhash lives about a minute; a node that has not seen a younger one yet would call it expired. */
const YOUNGEST_EXPIRED_MS = 60_000;
/** What clocks may differ by. */
const CLOCK_SKEW_MS = 60_000;
const MAX_SIGNATURES = 1_000;
const RPC_TIMEOUT_MS = 15_000;

/**
 * Whether a payment can move no money any more and has moved none: its blockhash has expired, and no transaction of the payer's
 * token account since then has its memo, which is unlike any other's. When the node cannot tell, it is not.
 */
export async function isOver(payment: Payment, rpcUrl: string | undefined, nowMs: number): Promise<boolean> {
  if (nowMs - payment.signedAt < YOUNGEST_EXPIRED_MS) return false;
  try {
    const { network, account, lifetime, memo } = await readTransfer(payment);
    const rpc = createRpcClient(network, rpcUrl);
    const abortSignal = AbortSignal.timeout(RPC_TIMEOUT_MS);
    const { context, value: isAlive } = await rpc
      .isBlockhashValid(blockhash(lifetime), { commitment: "confirmed" })
      .send({ abortSignal });
    if (isAlive) return false;
    const found = await rpc
      .getSignaturesForAddress(account, {
        commitment: "confirmed",
        limit: MAX_SIGNATURES,
        minContextSlot: context.slot,
      })
      .send({ abortSignal });
    const oldest = Number(found.at(-1)?.blockTime ?? 0) * 1_000;
    const isAllSeen = found.length < MAX_SIGNATURES || oldest < payment.signedAt - CLOCK_SKEW_MS;
    return isAllSeen && !found.some((one) => one.err === null && one.memo?.endsWith(` ${memo}`) === true);
  } catch {
    return false;
  }
}

async function readTransfer(payment: Payment) {
  const header = payment.headers["PAYMENT-SIGNATURE"] ?? "";
  const { payload, accepted } = decodePaymentSignatureHeader(header);
  const transaction = decodeTransactionFromPayload(z.object({ transaction: z.string() }).parse(payload));
  const message = getCompiledTransactionMessageDecoder().decode(transaction.messageBytes);
  if (!("instructions" in message)) throw new Error("no transaction of a known version");
  const memo = message.instructions.find(
    ({ programAddressIndex }) => message.staticAccounts[programAddressIndex] === MEMO_PROGRAM_ADDRESS,
  );
  if (memo?.data === undefined) throw new Error("no memo to know it by");
  const payer = address(getTokenPayerFromTransaction(transaction));
  const programs = message.instructions.map(
    ({ programAddressIndex }) => message.staticAccounts[programAddressIndex],
  );
  const program = programs.find((each) => each === TOKEN_2022_PROGRAM_ADDRESS);
  return {
    network: accepted.network,
    account: await associatedTokenAccount(payer, address(accepted.asset), program),
    lifetime: message.lifetimeToken,
    memo: new TextDecoder().decode(Uint8Array.from(memo.data)),
  };
}
