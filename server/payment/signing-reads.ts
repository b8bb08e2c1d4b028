import { z } from "zod";
import type { Rpc } from "./rpc.ts";

export const COMMITMENTS = ["processed", "confirmed", "finalized"] as const;
export type Commitment = (typeof COMMITMENTS)[number];

/** What a node says as of a slot. */
export interface AtSlot<Value> {
  readonly slot: number;
  readonly value: Value;
}

export interface LatestBlockhash {
  readonly blockhash: string;
  readonly lastValidBlockHeight: number;
}

/** An account as it is stored. */
export interface StoredAccount {
  /** Base64. */
  readonly data: string;
  readonly executable: boolean;
  readonly lamports: number;
  /** The program that owns it, base58. */
  readonly owner: string;
  /** Bytes of `data`. */
  readonly space: number;
}

/** What whoever signs a payment reads from the chain. Both throw `ChainError`. */
export interface SigningReads {
  latestBlockhash(commitment: Commitment): Promise<AtSlot<LatestBlockhash>>;
  /** Null: there is no such account. */
  storedAccount(address: string, commitment: Commitment): Promise<AtSlot<StoredAccount | null>>;
}

/** Base64 of 64 KiB: mints and token accounts are far smaller, also with much metadata in Token-2022's extensions. */
const MAX_DATA = 87_384;

const whole = z.int().nonnegative();
const blockhash = z.object({
  context: z.object({ slot: whole }),
  value: z.object({ blockhash: z.string().max(44), lastValidBlockHeight: whole }),
});
const account = z.object({
  context: z.object({ slot: whole }),
  value: z
    .object({
      data: z.tuple([z.base64().max(MAX_DATA), z.literal("base64")]),
      executable: z.boolean(),
      lamports: whole,
      owner: z.string().max(44),
      space: whole,
    })
    .nullable(),
});

/** Asks a node; what it says beside these fields is left out. */
export function createSigningReads(rpc: Rpc): SigningReads {
  return {
    async latestBlockhash(commitment) {
      const { context, value } = await rpc("getLatestBlockhash", [{ commitment }], blockhash);
      return { slot: context.slot, value };
    },
    async storedAccount(address, commitment) {
      const { context, value } = await rpc(
        "getAccountInfo",
        [address, { encoding: "base64", commitment }],
        account,
      );
      return { slot: context.slot, value: value && { ...value, data: value.data[0] } };
    },
  };
}
