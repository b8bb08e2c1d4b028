import { isAddress } from "@solana/kit";
import { creditedAccount, type PaymentRecord } from "../ledger/ledger.ts";
import { type Chain, ChainError, type ListedTransaction } from "../payment/chain.ts";
import type { NodePool } from "../payment/node-pool.ts";
import { isMemo } from "../payment/token.ts";
import { compareRecord } from "./compare-record.ts";
import { createTransferJudge, type TransferJudgeOptions } from "./judge-transfer.ts";
import { type ChainReport, createFindings, type Findings } from "./report.ts";

const PAGE = 500;
const AT_ONCE = 8;
/** How far before the oldest record transfers are looked for: they may never have been presented. */
const BEFORE_FIRST_MS = 24 * 3_600_000;

export interface ChainCheckOptions extends Omit<TransferJudgeOptions, "findings" | "misnamed"> {
  readonly nodes: NodePool;
  /** The merchant's wallet of today; those of the records are looked at as well. */
  readonly payTo: string | undefined;
  /** Mints that credit can be paid in besides USDC; those of the records are looked at as well. */
  readonly otherAssets: readonly string[];
  /** Records made and transfers landed from then on, ms since 1970; undefined: all. */
  readonly since: number | undefined;
  /** Called now and then. */
  readonly onProgress: (payments: number, transactions: number) => void;
}

/**
 * Compares the ledger with the chain, both ways: every record that says its money moved must be on the chain, and every
 * transfer to payTo with a memo of ours must have such a record. With `credit`, a transfer nobody was served for goes onto
 * `wallet:<payer>`, once.
 *
 * The records come first: a payment that is made meanwhile is met among the transfers, and looked up there.
 * Throws {@link ChainError} if no node can tell; what was credited until then stays so, and a second run goes on.
 */
export async function checkChain(options: ChainCheckOptions): Promise<ChainReport> {
  const { nodes } = options;
  const findings = createFindings();
  await nodes.height();
  const records = await walkRecords(options, findings);
  const owners = new Set([...(options.payTo === undefined ? [] : [options.payTo]), ...records.payTos]);
  const now = options.now();
  const since = options.since ?? Math.min(records.oldest, now) - BEFORE_FIRST_MS;
  let transactions = 0;
  for (const mint of await mintsOf(options, records)) {
    for (const owner of owners) {
      transactions += await walkTransfers({ ...options, findings, records, owner, mint, since });
      options.onProgress(records.count, transactions);
    }
  }
  // Those that landed were met among the transfers, and others have been decided meanwhile.
  for (const { id: payment } of records.undecided) {
    const record = await options.ledger.payment(payment);
    if (record === undefined || !isUndecided(record)) continue;
    const { state, transaction, leased } = record;
    findings.waits({ payment, state, transaction, reason: leased ? "in_progress" : "settlement_unknown" });
  }
  const { differences, undecided } = findings;
  return { payments: records.count, transactions, differences, undecided };
}

/** USDC first. What is no mint on this network nobody was paid in. */
async function mintsOf(
  { nodes, asset, otherAssets }: ChainCheckOptions,
  { assets }: WalkedRecords,
): Promise<readonly string[]> {
  const found = [asset];
  for (const mint of new Set([...otherAssets, ...assets])) {
    if (mint !== asset && (await nodes.ask((node) => node.mint(mint))) !== undefined) found.push(mint);
  }
  return found;
}

interface WalkedRecords {
  readonly count: number;
  readonly oldest: number;
  readonly payTos: ReadonlySet<string>;
  readonly assets: ReadonlySet<string>;
  /** Transactions that are accounted for. */
  readonly matched: Set<string>;
  /** Transactions that records name and that do not fit them. */
  readonly misnamed: ReadonlySet<string>;
  readonly undecided: readonly PaymentRecord[];
  /** Memos that are not of our form, of records whose transfer would be news. */
  readonly memos: ReadonlySet<string>;
}

async function walkRecords(options: ChainCheckOptions, findings: Findings): Promise<WalkedRecords> {
  const { ledger, since = 0 } = options;
  const payTos = new Set<string>();
  const assets = new Set<string>();
  const matched = new Set<string>();
  const misnamed = new Set<string>();
  const memos = new Set<string>();
  const undecided: PaymentRecord[] = [];
  let count = 0;
  let oldest = Number.POSITIVE_INFINITY;
  let after: string | undefined;
  do {
    const page = await ledger.payments(after, PAGE);
    const records = page.records.filter(({ createdAt }) => createdAt >= since);
    for (const record of records) {
      if (isAddress(record.payTo)) payTos.add(record.payTo);
      assets.add(record.asset);
      if (!hasMoved(record) && !isMemo(record.memo)) memos.add(record.memo);
      if (isUndecided(record)) undecided.push(record);
      oldest = Math.min(oldest, record.createdAt);
    }
    await atOnce(records.filter(hasMoved), async (record) => {
      const matches = await checkRecord(options, findings, record);
      if (record.transaction !== undefined) (matches ? matched : misnamed).add(record.transaction);
    });
    count += records.length;
    options.onProgress(count, 0);
    after = page.next;
  } while (after !== undefined);
  return { count, oldest, payTos, assets, matched, misnamed, undecided, memos };
}

/** True if the chain says the same as the record. */
async function checkRecord(
  { nodes, asset, now }: ChainCheckOptions,
  findings: Findings,
  record: PaymentRecord,
): Promise<boolean> {
  const { id: payment, state, transaction, amount, assetAmount } = record;
  const account = creditedAccount(record);
  const result = await compareRecord(nodes, record, asset, now());
  if (result === "matches") return true;
  if (result === "undecided") findings.waits({ payment, state, transaction, reason: "not_on_chain_yet" });
  else {
    const facts = { payment, state, account, amount, asset: record.asset, assetAmount, transaction };
    findings.differs({ ...facts, problem: result, credited: false });
  }
  return false;
}

function isUndecided({ state }: PaymentRecord): boolean {
  return state === "unknown" || state === "settling";
}

/** It says that its money moved. */
function hasMoved({ state }: PaymentRecord): boolean {
  return state === "settled" || state === "delivered" || state === "credited";
}

interface TransferWalk extends ChainCheckOptions {
  readonly findings: Findings;
  readonly records: WalkedRecords;
  readonly owner: string;
  readonly mint: string;
  readonly since: number;
}

/** One account, on one node: a page goes on where the one before ended, which only the same node knows. */
async function walkTransfers(walk: TransferWalk): Promise<number> {
  let fault: unknown;
  for (const node of walk.nodes.inOrder()) {
    try {
      return await walkOn(node, walk);
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      fault = error;
    }
  }
  throw fault ?? new ChainError("There is no node to ask.");
}

async function walkOn(node: Chain, walk: TransferWalk): Promise<number> {
  const { records, owner, mint } = walk;
  const judge = createTransferJudge({ ...walk, misnamed: records.misnamed });
  let count = 0;
  for await (const listed of node.history(owner, mint, walk.since)) {
    count += 1;
    if (count % PAGE === 0) walk.onProgress(records.count, count);
    const memo =
      listed.failed || records.matched.has(listed.signature) ? undefined : ourMemo(listed, records);
    if (memo === undefined) continue;
    const landed = await node.transaction(listed.signature);
    if (landed === undefined) throw new ChainError("The node lists a transaction that it cannot show.");
    await judge({ listed, landed, payTo: owner, mint, memo });
    // After a node fails the next one begins at the start.
    records.matched.add(listed.signature);
  }
  return count;
}

/** The memo's text if it is of our form, or that of a record (protocol v1: the client's own, or none). */
function ourMemo({ memo }: ListedTransaction, { memos }: WalkedRecords): string | undefined {
  if (memo === undefined) return memos.has("") ? "" : undefined;
  // A node writes "[length] text", several joined by "; ".
  const texts = memo.split("; ").map((text) => text.replace(/^\[\d+\] /, ""));
  return texts.find((text) => isMemo(text) || memos.has(text));
}

async function atOnce<Item>(items: readonly Item[], run: (item: Item) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += AT_ONCE) {
    await Promise.all(items.slice(start, start + AT_ONCE).map(run));
  }
}
