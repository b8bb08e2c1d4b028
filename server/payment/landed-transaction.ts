import { createHash } from "node:crypto";
import { getCompiledTransactionMessageDecoder } from "@solana/kit";
import { z } from "zod";
import { type BalanceChange, ChainError, type LandedTransaction } from "./chain.ts";

const SIGNATURE_BYTES = 64;
const decoder = getCompiledTransactionMessageDecoder();

const tokenBalance = z.object({
  mint: z.string(),
  owner: z.string().optional(),
  uiTokenAmount: z.object({ amount: z.string().regex(/^\d+$/) }),
});

/** `getTransaction` with `encoding: base64`; null: the node knows no such transaction. */
export const landedTransaction = z
  .object({
    transaction: z.tuple([z.base64(), z.literal("base64")]),
    meta: z.object({
      err: z.union([z.null(), z.string(), z.looseObject({})]),
      preTokenBalances: z.array(tokenBalance),
      postTokenBalances: z.array(tokenBalance),
    }),
  })
  .nullable();

/** A node's answer, parsed. */
export type Landed = NonNullable<z.infer<typeof landedTransaction>>;
type Balances = Landed["meta"]["postTokenBalances"];

/** The payment id of a transaction: SHA-256 (hex) of its message. Throws {@link ChainError} if it cannot be decoded. */
export function messageHash(landed: Landed): string {
  return createHash("sha256").update(messageBytes(landed)).digest("hex");
}

/** What a transaction did. Throws {@link ChainError} if it cannot be decoded. */
export function readLanded(landed: Landed): LandedTransaction {
  return {
    id: messageHash(landed),
    failed: landed.meta.err !== null,
    feePayer: feePayerOf(landed),
    changes: changesOf(landed.meta),
  };
}

/** What an owner had of a mint before or after; undefined if none of its accounts of that mint took part. */
export function balanceOf(balances: Balances, mint: string, owner: string): bigint | undefined {
  const own = balances.filter((balance) => balance.mint === mint && balance.owner === owner);
  if (own.length === 0) return undefined;
  return own.reduce((sum, { uiTokenAmount }) => sum + BigInt(uiTokenAmount.amount), 0n);
}

function changesOf({ preTokenBalances, postTokenBalances }: Landed["meta"]): readonly BalanceChange[] {
  const owned = new Map<string, { readonly mint: string; readonly owner: string }>();
  for (const { mint, owner } of [...preTokenBalances, ...postTokenBalances]) {
    if (owner !== undefined) owned.set(`${mint} ${owner}`, { mint, owner });
  }
  return [...owned.values()].map(({ mint, owner }) => {
    const after = balanceOf(postTokenBalances, mint, owner) ?? 0n;
    return { mint, owner, change: after - (balanceOf(preTokenBalances, mint, owner) ?? 0n) };
  });
}

/** What was signed: the wire form after its signatures (a compact-u16 count, then 64 bytes each). */
function messageBytes(landed: Landed): Buffer {
  const wire = Buffer.from(landed.transaction[0], "base64");
  const [count] = wire;
  // More than 127 signatures do not fit into a packet, so the count is one byte.
  const start = count === undefined || count === 0 || count > 127 ? undefined : 1 + count * SIGNATURE_BYTES;
  if (start === undefined || start >= wire.length) {
    throw new ChainError("The node shows a transaction that cannot be decoded.");
  }
  return wire.subarray(start);
}

function feePayerOf(landed: Landed): string {
  let feePayer: string | undefined;
  try {
    feePayer = decoder.decode(messageBytes(landed)).staticAccounts[0];
  } catch (cause) {
    throw new ChainError("The node shows a transaction that cannot be decoded.", { cause });
  }
  if (feePayer === undefined) throw new ChainError("The node shows a transaction that nobody pays for.");
  return feePayer;
}
