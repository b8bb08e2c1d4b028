import { createHash } from "node:crypto";
import { address, getAddressEncoder, getProgramDerivedAddress, isAddress, isSignature } from "@solana/kit";
import { z } from "zod";
import type { PaymentRecord } from "../ledger/ledger.ts";
import { type Chain, ChainError, type Finding } from "./chain.ts";
import { createRpc, type Fetch, type Rpc } from "./rpc.ts";

export interface RpcChainOptions {
  /** A Solana JSON-RPC node that keeps transaction history. */
  readonly url: string;
  /** For each request, ms. */
  readonly timeoutMs: number;
  /** The mint payments are made in, base58; of the classic token program (USDC). */
  readonly asset: string;
  readonly fetch?: Fetch;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const TOKEN_PROGRAM = address("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
const ASSOCIATED_TOKEN_PROGRAM = address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
const encodeAddress = getAddressEncoder();

const PAGE_SIZE = 1000;
const MAX_PAGES = 50;
/** Transactions looked into for one record because the node told no memo. */
const MAX_UNMARKED = 1000;
const UNMARKED_AT_ONCE = 8;
/** The node's block time and the ledger's clock may differ by this much. */
const CLOCK_SLACK_MS = 5 * 60_000;
/** A payment's blockhash dies within two minutes of its claim: later transactions without a memo are not looked into. */
const LANDING_WINDOW_MS = 15 * 60_000;
/** Every node that serves history keeps at least this much of it. */
const HISTORY_ASSUMED_MS = 6 * 3600_000;
const SIGNATURE_BYTES = 64;

const slotOrHeight = z.int().nonnegative();
const blockTime = z.number().nullish();
const epochInfo = z.object({ absoluteSlot: slotOrHeight, blockHeight: slotOrHeight });
const listedSignature = z.object({ signature: z.string(), memo: z.string().nullish(), blockTime });
const tokenBalance = z.object({
  mint: z.string(),
  owner: z.string().optional(),
  uiTokenAmount: z.object({ amount: z.string().regex(/^\d+$/) }),
});
const landedTransaction = z
  .object({
    transaction: z.tuple([z.base64(), z.literal("base64")]),
    meta: z.object({
      err: z.union([z.null(), z.string(), z.looseObject({})]),
      preTokenBalances: z.array(tokenBalance),
      postTokenBalances: z.array(tokenBalance),
    }),
  })
  .nullable();
const accountInfo = z.object({ value: z.object({ owner: z.string() }).nullable() });

type Landed = NonNullable<z.infer<typeof landedTransaction>>;
type Listed = z.infer<typeof listedSignature>;

/**
 * A {@link Chain} over JSON-RPC.
 *
 * `find` looks only where an accepted payment can be: our own checks demand the payer's *associated* token account as
 * the source, so its history has the transaction. (payTo's account would find it too, but a merchant's is the busier one.)
 *
 * Ask `finalizedHeight` first and judge "absent" by it: `find` then demands of the node that it has seen the slot of that
 * height (`minContextSlot`), so that a lagging node behind a load balancer is an error instead of "absent".
 */
export function createRpcChain(options: RpcChainOptions): Chain {
  const rpc = createRpc(options);
  const now = options.now ?? Date.now;
  let finalizedSlot = 0;

  return {
    finalizedHeight: async () => {
      const info = await rpc("getEpochInfo", [{ commitment: "finalized" }], epochInfo);
      finalizedSlot = Math.max(finalizedSlot, info.absoluteSlot);
      return BigInt(info.blockHeight);
    },
    height: async () => BigInt(await rpc("getBlockHeight", [{ commitment: "processed" }], slotOrHeight)),
    find: async (record) => {
      const hinted = await findByHint(rpc, record);
      if (hinted !== undefined) return hinted;
      return search({ rpc, record, asset: options.asset, minContextSlot: finalizedSlot, now: now() });
    },
    tokenAccount: async (owner, mint) => {
      const account = await associatedTokenAccount(owner, mint);
      const info = await rpc(
        "getAccountInfo",
        [account, { commitment: "confirmed", encoding: "base64" }],
        accountInfo,
      );
      return { address: account, exists: info.value?.owner === TOKEN_PROGRAM };
    },
  };
}

/** The facilitator's hint is only that: one that is unknown to the node, or is another payment, is passed over. */
async function findByHint(rpc: Rpc, record: PaymentRecord): Promise<Finding | undefined> {
  const hint = record.transaction;
  if (hint === undefined || !isSignature(hint)) return undefined;
  const landed = await getTransaction(rpc, hint);
  return landed === null ? undefined : judge(landed, hint, record);
}

interface Search {
  readonly rpc: Rpc;
  readonly record: PaymentRecord;
  readonly asset: string;
  readonly minContextSlot: number;
  readonly now: number;
}

async function search(task: Search): Promise<Finding> {
  const { rpc, record } = task;
  if (record.asset !== task.asset)
    throw new ChainError("The payment is in an asset this chain does not watch.");
  const unmarked: string[] = [];
  for await (const listed of history(task)) {
    if (record.memo !== "" && listed.memo) {
      // A node writes "[length] text", several joined by "; ". The hash decides, so containing is enough here.
      if (!listed.memo.includes(record.memo)) continue;
      const finding = await inspect(rpc, listed.signature, record);
      if (finding !== undefined) return finding;
    } else if (!isAfterWindow(listed, record)) {
      unmarked.push(listed.signature);
    }
  }
  return (await searchUnmarked(rpc, unmarked, record)) ?? { found: "absent" };
}

/** The payer's transactions, newest first, back to the record's creation. Throws rather than end early. */
async function* history(task: Search): AsyncGenerator<Listed> {
  const { rpc, record, minContextSlot } = task;
  const account = await associatedTokenAccount(record.payer, record.asset);
  const since = record.createdAt - CLOCK_SLACK_MS;
  let before: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const config = {
      limit: PAGE_SIZE,
      commitment: "confirmed",
      ...(minContextSlot > 0 ? { minContextSlot } : {}),
      ...(before === undefined ? {} : { before }),
    };
    const entries = await rpc("getSignaturesForAddress", [account, config], z.array(listedSignature));
    for (const listed of entries) {
      if (listed.blockTime != null && listed.blockTime * 1000 < since) return;
      yield listed;
    }
    before = entries.at(-1)?.signature;
    if (entries.length < PAGE_SIZE) {
      await demandHistorySince(rpc, since, task.now);
      return;
    }
  }
  throw new ChainError("The payer's history is too long to search.");
}

/** The list ended before `since`: because there is no more, or because the node keeps no more? */
async function demandHistorySince(rpc: Rpc, since: number, now: number): Promise<void> {
  if (now - since < HISTORY_ASSUMED_MS) return;
  const slot = await rpc("getFirstAvailableBlock", [], slotOrHeight);
  if (slot === 0) return;
  const time = await rpc("getBlockTime", [slot], z.number());
  if (time * 1000 > since) throw new ChainError("The node's history does not reach back to the payment.");
}

async function searchUnmarked(
  rpc: Rpc,
  signatures: readonly string[],
  record: PaymentRecord,
): Promise<Finding | undefined> {
  if (signatures.length > MAX_UNMARKED) throw new ChainError("Too many transactions could be the payment.");
  for (let start = 0; start < signatures.length; start += UNMARKED_AT_ONCE) {
    const group = signatures.slice(start, start + UNMARKED_AT_ONCE);
    const findings = await Promise.all(group.map((signature) => inspect(rpc, signature, record)));
    const finding = findings.find((each) => each !== undefined);
    if (finding !== undefined) return finding;
  }
  return undefined;
}

function isAfterWindow(listed: Listed, record: PaymentRecord): boolean {
  return listed.blockTime != null && listed.blockTime * 1000 > record.createdAt + LANDING_WINDOW_MS;
}

async function inspect(rpc: Rpc, signature: string, record: PaymentRecord): Promise<Finding | undefined> {
  const landed = await getTransaction(rpc, signature);
  if (landed === null) throw new ChainError("The node lists a transaction that it cannot show.");
  return judge(landed, signature, record);
}

function getTransaction(rpc: Rpc, signature: string): Promise<Landed | null> {
  const config = { encoding: "base64", commitment: "confirmed", maxSupportedTransactionVersion: 0 };
  return rpc("getTransaction", [signature, config], landedTransaction);
}

/** Undefined: another payment. */
function judge(landed: Landed, transaction: string, record: PaymentRecord): Finding | undefined {
  const message = messageBytes(Buffer.from(landed.transaction[0], "base64"));
  if (message === undefined) throw new ChainError("The node shows a transaction that cannot be decoded.");
  if (createHash("sha256").update(message).digest("hex") !== record.id) return undefined;
  const { err, preTokenBalances, postTokenBalances } = landed.meta;
  if (err !== null) return { found: "failed", transaction };
  const after = balanceOf(postTokenBalances, record);
  if (after === undefined) throw new ChainError("The node shows no token balances of the payment.");
  const risen = after - (balanceOf(preTokenBalances, record) ?? 0n);
  return { found: risen >= record.amount ? "settled" : "failed", transaction };
}

function balanceOf(balances: Landed["meta"]["postTokenBalances"], record: PaymentRecord): bigint | undefined {
  const own = balances.filter(({ mint, owner }) => mint === record.asset && owner === record.payTo);
  if (own.length === 0) return undefined;
  return own.reduce((sum, { uiTokenAmount }) => sum + BigInt(uiTokenAmount.amount), 0n);
}

/** What was signed: the wire form after its signatures (a compact-u16 count, then 64 bytes each). */
function messageBytes(wire: Buffer): Buffer | undefined {
  const [count] = wire;
  // More than 127 signatures do not fit into a packet, so the count is one byte.
  if (count === undefined || count === 0 || count > 127) return undefined;
  const start = 1 + count * SIGNATURE_BYTES;
  return start < wire.length ? wire.subarray(start) : undefined;
}

async function associatedTokenAccount(owner: string, mint: string): Promise<string> {
  if (!isAddress(owner) || !isAddress(mint)) throw new ChainError("Not a Solana address.");
  const [account] = await getProgramDerivedAddress({
    programAddress: ASSOCIATED_TOKEN_PROGRAM,
    seeds: [encodeAddress.encode(owner), encodeAddress.encode(TOKEN_PROGRAM), encodeAddress.encode(mint)],
  });
  return account;
}
