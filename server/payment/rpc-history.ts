import { z } from "zod";
import { ChainError } from "./chain.ts";
import type { Rpc } from "./rpc.ts";

const PAGE_SIZE = 1000;
/** Every node that serves history keeps at least this much of it. */
const HISTORY_ASSUMED_MS = 6 * 3600_000;

const slot = z.int().nonnegative();
const listedSignature = z.object({
  signature: z.string(),
  slot: slot.optional(),
  memo: z.string().nullish(),
  blockTime: z.number().nullish(),
  err: z.unknown().optional(),
});

/** One entry of `getSignaturesForAddress`. */
export type Listed = z.infer<typeof listedSignature>;

export interface HistoryQuery {
  /** A token account, base58. */
  readonly account: string;
  readonly commitment: "confirmed" | "finalized";
  /** How far back to go, ms since 1970. An entry without a block time does not end it. */
  readonly since: number;
  /** One of this slot or a later one does not end it either. Undefined: the time alone tells. */
  readonly sinceSlot?: number | undefined;
  /** The slot the node must have seen; 0: any. */
  readonly minContextSlot: number;
  readonly maxPages: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** An account's transactions, newest first, back to `since`. Throws {@link ChainError} rather than end early. */
export async function* signatureHistory(rpc: Rpc, query: HistoryQuery): AsyncGenerator<Listed> {
  const {
    account,
    commitment,
    since,
    sinceSlot = Number.POSITIVE_INFINITY,
    minContextSlot,
    maxPages,
    now,
  } = query;
  let before: string | undefined;
  for (let page = 0; page < maxPages; page += 1) {
    const config = {
      limit: PAGE_SIZE,
      commitment,
      ...(minContextSlot > 0 ? { minContextSlot } : {}),
      ...(before === undefined ? {} : { before }),
    };
    const entries = await rpc("getSignaturesForAddress", [account, config], z.array(listedSignature));
    for (const listed of entries) {
      const isOld = listed.blockTime != null && listed.blockTime * 1000 < since;
      if (isOld && (listed.slot ?? 0) < sinceSlot) return;
      yield listed;
    }
    before = entries.at(-1)?.signature;
    if (entries.length < PAGE_SIZE) {
      await demandHistorySince(rpc, since, now);
      return;
    }
  }
  throw new ChainError("The account's history is too long to search.");
}

/** The list ended before `since`: because there is no more, or because the node keeps no more? */
async function demandHistorySince(rpc: Rpc, since: number, now: number): Promise<void> {
  if (now - since < HISTORY_ASSUMED_MS) return;
  const first = await rpc("getFirstAvailableBlock", [], slot);
  if (first === 0) return;
  const time = await rpc("getBlockTime", [first], z.number());
  if (time * 1000 > since) throw new ChainError("The node's history does not reach back far enough.");
}
