import { address, getAddressEncoder, getProgramDerivedAddress, isAddress, isSignature } from "@solana/kit";
import { z } from "zod";
import type { PaymentRecord } from "../ledger/ledger.ts";
import { type Chain, ChainError, type Finding, type ListedTransaction } from "./chain.ts";
import { balanceOf, type Landed, landedTransaction, messageHash, readLanded } from "./landed-transaction.ts";
import { type MintAccount, readMintAccount, TOKEN_PROGRAM } from "./mint-account.ts";
import { createRpc, type Fetch, type Rpc } from "./rpc.ts";
import { type Listed, signatureHistory } from "./rpc-history.ts";
import { createSigningReads } from "./signing-reads.ts";

export interface RpcChainOptions {
  /** A Solana JSON-RPC node that keeps transaction history. */
  readonly url: string;
  /** For each request, ms. */
  readonly timeoutMs: number;
  /** The mint that calls are paid in, base58; of the classic token program (USDC). Others are looked up. */
  readonly asset: string;
  /** CAIP-2; a node that says that it is of another one is not believed. Undefined: any will do. */
  readonly network?: string;
  readonly fetch?: Fetch;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const ASSOCIATED_TOKEN_PROGRAM = address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
const encodeAddress = getAddressEncoder();

/** A payer's history may be this long, in pages of 1000. */
const MAX_PAGES = 50;
/** Transactions looked into for one record because the node told no memo. */
const MAX_UNMARKED = 1000;
const UNMARKED_AT_ONCE = 8;
/** The node's block time and the ledger's clock may differ by this much. */
const CLOCK_SLACK_MS = 5 * 60_000;
/** A payment's blockhash dies within two minutes of its claim: later transactions without a memo are not looked into. */
const LANDING_WINDOW_MS = 15 * 60_000;
/** A slot takes 400 ms or longer. */
const LANDING_WINDOW_SLOTS = LANDING_WINDOW_MS / 400;

/** More slots than blocks: some are skipped. */
const SLOTS_PER_BLOCK = 1.5;
/** The height of a claim is an upper bound of the chain's at that moment, by fewer blocks than this. */
const CLAIM_SLACK_BLOCKS = 300;

const slotOrHeight = z.int().nonnegative();
const epochInfo = z.object({ absoluteSlot: slotOrHeight, blockHeight: slotOrHeight });
const accountOwner = z.object({ value: z.object({ owner: z.string() }).nullable() });
const accountInfo = z.object({
  value: z.object({ owner: z.string(), data: z.tuple([z.base64(), z.literal("base64")]) }).nullable(),
});

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
  const rpc = onNetwork(options.network, createRpc(options));
  const now = options.now ?? Date.now;
  const programOf = createProgramLookup(rpc, options.asset);
  let finalizedSlot = 0;
  let finalized: z.infer<typeof epochInfo> | undefined;

  return {
    ...createSigningReads(rpc),
    finalizedHeight: async () => {
      const info = await rpc("getEpochInfo", [{ commitment: "finalized" }], epochInfo);
      finalizedSlot = Math.max(finalizedSlot, info.absoluteSlot);
      finalized = info;
      return BigInt(info.blockHeight);
    },
    finalizedAt: async () => (await rpc("getBlockTime", [finalizedSlot], z.number())) * 1000,
    height: async () => BigInt(await rpc("getBlockHeight", [{ commitment: "processed" }], slotOrHeight)),
    find: async (record) => {
      const hinted = await findByHint(rpc, record);
      if (hinted !== undefined) return hinted;
      const account = await tokenAccountOf(record.payer, record.asset, programOf);
      const slots = finalized && slotsOf(record, finalized);
      return search({ rpc, record, account, slots, minContextSlot: finalizedSlot, now: now() });
    },
    transaction: async (signature) => {
      const landed = isSignature(signature) ? await getTransaction(rpc, signature) : null;
      return landed === null ? undefined : readLanded(landed);
    },
    history: async function* (owner, mint, since) {
      const account = await tokenAccountOf(owner, mint, programOf);
      yield* ownerHistory(rpc, { account, since, now: now() });
    },
    mint: (mint) => readMint(rpc, mint),
    tokenAccount: async (owner, mint) => {
      const account = await tokenAccountOf(owner, mint, programOf);
      const config = { commitment: "confirmed", encoding: "base64" };
      const info = await rpc("getAccountInfo", [account, config], accountOwner);
      return { address: account, exists: info.value?.owner === (await programOf(mint)) };
    },
  };
}

/**
 * What a node of another network does not show is not absent. CAIP-2 names a network of Solana by its genesis block. Asked until it
 * is told, beside the first questions.
 */
function onNetwork(network: string | undefined, rpc: Rpc): Rpc {
  const [, genesis = ""] = network?.split(":") ?? [];
  let isKnown = network === undefined;
  return async (method, params, schema) => {
    if (isKnown) return rpc(method, params, schema);
    const told = rpc("getGenesisHash", [], z.string()).catch(() => undefined);
    const [hash, answer] = await Promise.all([told, rpc(method, params, schema)]);
    if (hash?.startsWith(genesis) === false) throw new ChainError("The node is of another network.");
    isKnown = hash !== undefined;
    return answer;
  };
}

async function readMint(rpc: Rpc, mint: string): Promise<MintAccount | undefined> {
  if (!isAddress(mint)) return undefined;
  const { value } = await rpc(
    "getAccountInfo",
    [mint, { commitment: "finalized", encoding: "base64" }],
    accountInfo,
  );
  return value === null ? undefined : readMintAccount(value.owner, Buffer.from(value.data[0], "base64"));
}

type ProgramLookup = (mint: string) => Promise<string>;

/** The token program of a mint, which never changes. Throws {@link ChainError} where there is no such mint. */
function createProgramLookup(rpc: Rpc, usdc: string): ProgramLookup {
  const known = new Map<string, string>([[usdc, TOKEN_PROGRAM]]);
  return async (mint) => {
    const program = known.get(mint) ?? (await readMint(rpc, mint))?.program;
    if (program === undefined) throw new ChainError("The node shows no mint of this asset.");
    known.set(mint, program);
    return program;
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
  /** The payer's token account. */
  readonly account: string;
  readonly slots: Slots | undefined;
  readonly minContextSlot: number;
  readonly now: number;
}

/** Where a payment can have landed, by the chain's own count: a gateway's clock may have been wrong at the claim. */
interface Slots {
  readonly first: number;
  readonly last: number;
}

/** Undefined where the height of the claim is not known. Wide on both sides: who is in between is only looked at. */
function slotsOf(
  { claimHeight }: PaymentRecord,
  { absoluteSlot, blockHeight }: z.infer<typeof epochInfo>,
): Slots | undefined {
  if (claimHeight === undefined) return undefined;
  const blocks = blockHeight - Number(claimHeight);
  const first = absoluteSlot - Math.ceil((Math.max(blocks, 0) + CLAIM_SLACK_BLOCKS) * SLOTS_PER_BLOCK);
  return { first, last: absoluteSlot - blocks + LANDING_WINDOW_SLOTS };
}

async function search(task: Search): Promise<Finding> {
  const { rpc, record, slots } = task;
  const unmarked: string[] = [];
  for await (const listed of payerHistory(task)) {
    if (record.memo !== "" && listed.memo) {
      // A node writes "[length] text", several joined by "; ". The hash decides, so containing is enough here.
      if (!listed.memo.includes(record.memo)) continue;
      const finding = await inspect(rpc, listed.signature, record);
      if (finding !== undefined) return finding;
    } else if (!isAfterWindow(listed, record, slots)) {
      unmarked.push(listed.signature);
    }
  }
  return (await searchUnmarked(rpc, unmarked, record)) ?? { found: "absent" };
}

/** The payer's transactions, newest first, back to the record's creation. Throws rather than end early. */
async function* payerHistory(task: Search): AsyncGenerator<Listed> {
  const { rpc, record, account, slots, minContextSlot, now } = task;
  const since = record.createdAt - CLOCK_SLACK_MS;
  const query = {
    account,
    commitment: "confirmed",
    since,
    sinceSlot: slots?.first,
    minContextSlot,
    maxPages: MAX_PAGES,
    now,
  } as const;
  yield* signatureHistory(rpc, query);
}

interface OwnerHistory {
  readonly account: string;
  readonly since: number;
  readonly now: number;
}

async function* ownerHistory(
  rpc: Rpc,
  { account, since, now }: OwnerHistory,
): AsyncGenerator<ListedTransaction> {
  const whole = { minContextSlot: 0, maxPages: Number.POSITIVE_INFINITY, commitment: "finalized" } as const;
  for await (const listed of signatureHistory(rpc, { account, since, now, ...whole })) {
    const { signature, memo, blockTime, err } = listed;
    const at = blockTime == null ? undefined : blockTime * 1000;
    yield { signature, memo: memo ?? undefined, failed: err != null, at };
  }
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

function isAfterWindow(
  { blockTime, slot }: Listed,
  record: PaymentRecord,
  slots: Slots | undefined,
): boolean {
  const isLate = blockTime != null && blockTime * 1000 > record.createdAt + LANDING_WINDOW_MS;
  return isLate && (slot === undefined || slots === undefined || slot > slots.last);
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
  if (messageHash(landed) !== record.id) return undefined;
  const { err, preTokenBalances, postTokenBalances } = landed.meta;
  if (err !== null) return { found: "failed", transaction };
  const { asset, payTo, assetAmount } = record;
  const after = balanceOf(postTokenBalances, asset, payTo);
  if (after === undefined) throw new ChainError("The node shows no token balances of the payment.");
  const risen = after - (balanceOf(preTokenBalances, asset, payTo) ?? 0n);
  return { found: risen >= assetAmount ? "settled" : "failed", transaction };
}

async function tokenAccountOf(owner: string, mint: string, programOf: ProgramLookup): Promise<string> {
  return associatedTokenAccount(owner, mint, await programOf(mint));
}

/** Throws {@link ChainError} where one of the three is no address. */
export async function associatedTokenAccount(
  owner: string,
  mint: string,
  program: string = TOKEN_PROGRAM,
): Promise<string> {
  if (!isAddress(owner) || !isAddress(mint) || !isAddress(program)) {
    throw new ChainError("Not a Solana address.");
  }
  const [account] = await getProgramDerivedAddress({
    programAddress: ASSOCIATED_TOKEN_PROGRAM,
    seeds: [encodeAddress.encode(owner), encodeAddress.encode(program), encodeAddress.encode(mint)],
  });
  return account;
}
