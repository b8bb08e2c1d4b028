import { randomBytes } from "node:crypto";
import type { Address } from "@solana/kit";
import { type BlockClock, createBlockClock } from "./block-clock.ts";
import { type Journal, type JournalEntry, openJournal } from "./journal.ts";
import { createSvm, type Execution, fault, type Settled, type Svm } from "./svm.ts";
import { type ParsedTransaction, parseTransaction } from "./transaction.ts";

export interface ChainOptions {
  readonly faucet: Address;
  readonly feePayer: Address;
  /** File of the log; undefined = memory only. */
  readonly journalPath: string | undefined;
  readonly slotMs: number;
}

/** A transaction on the chain, failed ones included: those cost their fee. */
export interface Landed extends Settled {
  readonly parsed: ParsedTransaction;
  readonly signature: string;
  readonly height: bigint;
  readonly slot: bigint;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** `refused`: it is not on the chain and changed nothing. */
export type Submission =
  | { readonly outcome: "landed"; readonly landed: Landed }
  | { readonly outcome: "refused"; readonly execution: Execution };

export interface SimulationOptions {
  readonly sigVerify: boolean;
  /** Takes the newest blockhash instead of the transaction's own. */
  readonly replaceBlockhash: boolean;
}

/** One Solana chain in memory. Everything is synchronous, so each method is one atomic step. */
export interface Chain extends Pick<Svm, "account" | "lamports" | "accountsOf" | "rentExemption"> {
  readonly clock: Pick<BlockClock, "height" | "slot" | "latest" | "isRecent" | "hasReached">;
  /** Lands at once, or never. A message lands at most once, whoever signs it again. */
  submit(parsed: ParsedTransaction): Submission;
  simulate(parsed: ParsedTransaction, options: SimulationOptions): Execution;
  bySignature(signature: string): Landed | undefined;
  /** Everything that named the account, oldest first. */
  historyOf(account: string): readonly Landed[];
  transactionCount(): number;
  warp(blocks: number): void;
  close(): void;
}

/** Opens the chain and replays its log. Throws Error if the log is damaged or belongs to other keys. */
export function openChain(options: ChainOptions): Chain {
  const journal = openJournal(options.journalPath);
  try {
    return startChain(options, journal);
  } catch (error) {
    journal.close();
    throw error;
  }
}

function startChain(options: ChainOptions, journal: Journal): Chain {
  const { slotMs } = options;
  const seed = openGenesis(options, journal);
  const clock = createBlockClock({ seed, slotMs, startHeight: heightNow(journal.entries, Date.now()) });
  const svm = createSvm(options);
  const history = createHistory();

  function land(parsed: ParsedTransaction, settled: Settled, height: bigint, at: number): Landed {
    const { signature } = parsed;
    if (signature === undefined) throw new Error("A transaction without a signature cannot land.");
    const landed = { ...settled, parsed, signature, height, slot: clock.slotOf(height), at };
    history.add(landed);
    return landed;
  }

  function replay(entry: JournalEntry, index: number): void {
    if (entry.kind !== "transaction") return;
    const height = BigInt(entry.height);
    svm.setTime(clock.slotOf(height), entry.at);
    const parsed = parseTransaction(Buffer.from(entry.wire, "base64"));
    const settled = parsed && svm.execute(parsed, false).settled;
    if (parsed === undefined || settled === undefined) {
      throw new Error(`Line ${index + 1} of ${options.journalPath} cannot be replayed.`);
    }
    land(parsed, settled, height, entry.at);
  }

  function record(kind: "height" | "open", at: number): void {
    const height = Number(clock.height());
    journal.append(kind === "open" ? { kind, height, at, slotMs } : { kind, height, at });
  }

  /** As a node's bank does: first the blockhash, then what has been processed already. */
  function obstacle(parsed: ParsedTransaction, height: bigint): Execution | undefined {
    if (!clock.isRecent(parsed.message.lifetimeToken, height)) return fault("BlockhashNotFound");
    return history.hasMessage(parsed.messageHash) ? fault("AlreadyProcessed") : undefined;
  }

  journal.entries.forEach(replay);
  record("open", Date.now());

  return {
    clock,
    submit: (parsed) => {
      const height = clock.height();
      const refusal = obstacle(parsed, height);
      if (refusal !== undefined) return { outcome: "refused", execution: refusal };
      const at = Date.now();
      svm.setTime(clock.slotOf(height), at);
      const { settled, ...execution } = svm.execute(parsed, true);
      if (settled === undefined) return { outcome: "refused", execution };
      const wire = Buffer.from(parsed.wire).toString("base64");
      journal.append({ kind: "transaction", height: Number(height), at, wire });
      return { outcome: "landed", landed: land(parsed, settled, height, at) };
    },
    simulate: (parsed, { sigVerify, replaceBlockhash }) => {
      const height = clock.height();
      const refusal = replaceBlockhash ? undefined : obstacle(parsed, height);
      if (refusal !== undefined) return refusal;
      svm.setTime(clock.slotOf(height), Date.now());
      return svm.simulate(parsed, sigVerify);
    },
    bySignature: history.bySignature,
    historyOf: history.of,
    transactionCount: history.size,
    warp: (blocks) => {
      clock.warp(blocks);
      record("height", Date.now());
    },
    account: svm.account,
    lamports: svm.lamports,
    accountsOf: svm.accountsOf,
    rentExemption: svm.rentExemption,
    close: () => {
      record("height", Date.now());
      journal.close();
    },
  };
}

/** The seed of the blockhashes: the log's, or a new one. */
function openGenesis({ faucet, feePayer, journalPath }: ChainOptions, journal: Journal): Uint8Array {
  const [first] = journal.entries;
  if (first === undefined) {
    const seed = randomBytes(32);
    journal.append({ kind: "genesis", version: 1, seed: seed.toString("hex"), faucet, feePayer });
    return seed;
  }
  if (first.kind !== "genesis" || first.faucet !== faucet || first.feePayer !== feePayer) {
    throw new Error(`${journalPath} belongs to other keys; remove the directory to begin a new chain.`);
  }
  return Buffer.from(first.seed, "hex");
}

/**
 * The chain went on while nobody looked: at the pace of the last run from its last line on. So the height is never below
 * one that was told before, also after a crash.
 */
function heightNow(entries: readonly JournalEntry[], now: number): bigint {
  let last = { height: 0, at: now };
  let slotMs = 0;
  for (const entry of entries) {
    if (entry.kind === "genesis") continue;
    last = entry;
    if (entry.kind === "open") slotMs = entry.slotMs;
  }
  const passed = slotMs === 0 ? 0 : Math.ceil(Math.max(0, now - last.at) / slotMs);
  return BigInt(last.height + passed);
}

function createHistory() {
  const signatures = new Map<string, Landed>();
  const messages = new Set<string>();
  const accounts = new Map<string, Landed[]>();
  return {
    add: (landed: Landed) => {
      signatures.set(landed.signature, landed);
      messages.add(landed.parsed.messageHash);
      for (const account of new Set(landed.accounts)) {
        const list = accounts.get(account);
        if (list === undefined) accounts.set(account, [landed]);
        else list.push(landed);
      }
    },
    bySignature: (signature: string) => signatures.get(signature),
    size: () => signatures.size,
    hasMessage: (hash: string) => messages.has(hash),
    of: (account: string): readonly Landed[] => accounts.get(account) ?? [],
  };
}
