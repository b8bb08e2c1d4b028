import { creditedAccount, type Ledger, type PaymentRecord } from "../ledger/ledger.ts";
import type { LandedTransaction, ListedTransaction } from "../payment/chain.ts";
import { compareLanded, gainOf } from "./compare-record.ts";
import type { Findings } from "./report.ts";

/** A gateway claims a payment when it comes and settles it within a minute: younger transfers may have one at work. */
const MIN_AGE_MS = 120_000;

export interface TransferJudgeOptions {
  readonly ledger: Ledger;
  /** USDC's mint. */
  readonly asset: string;
  /** CAIP-2. */
  readonly network: string;
  /** False: nothing is changed. */
  readonly credit: boolean;
  /** Asks the chain about an undecided or watched record, by the ledger's own steps (payment/reconcile.ts). */
  readonly reconcile: (id: string) => Promise<unknown>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly findings: Findings;
  /** Transactions that records name which do not fit them: a record whose id was altered must not make its transfer look unserved. */
  readonly misnamed: ReadonlySet<string>;
}

/** A transaction of payTo's account, with our memo, that no record was seen to account for. */
export interface Arrival {
  readonly listed: ListedTransaction;
  readonly landed: LandedTransaction;
  readonly payTo: string;
  /** Of the account it was met at. */
  readonly mint: string;
  /** The memo's text, without what the node writes around it. */
  readonly memo: string;
}

interface Creditable {
  readonly payment: string;
  readonly state: PaymentRecord["state"] | undefined;
  readonly transaction: string;
  readonly account: string;
  readonly payer: string;
  readonly amount: bigint;
  readonly asset: string;
  readonly assetAmount: bigint;
  readonly payTo: string;
  readonly memo: string;
  readonly feePayer: string;
  readonly reason: string;
}

/**
 * Decides what a transfer is to the ledger, and credits it if told to.
 *
 * Race: the record is read first and may change at once. Nothing is concluded from it but which step to try; the step
 * (`takeUndecided`, `creditTransfer`) looks again and changes nothing of a payment that somebody works on or that was served.
 */
export function createTransferJudge(options: TransferJudgeOptions): (arrival: Arrival) => Promise<void> {
  const { ledger, credit, findings } = options;

  async function judge(arrival: Arrival): Promise<void> {
    const { landed, listed, payTo, mint } = arrival;
    if (gainOf(landed, payTo, mint) <= 0n) return;
    const record = await ledger.payment(landed.id);
    if (record === undefined) return judgeUnrecorded(arrival);
    const { id: payment, state, amount, asset, assetAmount, leased } = record;
    const account = creditedAccount(record);
    const facts = { payment, state, transaction: listed.signature };
    const sums = { account, amount, asset, assetAmount };
    if (state === "settled" || state === "delivered" || state === "credited") {
      const problem =
        record.transaction === listed.signature
          ? compareLanded(record, landed, options.asset)
          : "wrong_transaction";
      if (problem !== "matches") findings.differs({ ...facts, ...sums, problem, credited: false });
      return;
    }
    if (leased) return findings.waits({ ...facts, reason: "in_progress" });
    if (state === "unknown" || state === "settling") return judgeUndecided(record, listed.signature);
    const problem = compareLanded(record, landed, options.asset);
    if (problem !== "matches") {
      return findings.differs({ ...facts, ...sums, problem, credited: false });
    }
    await judgeReleased(arrival, record);
  }

  async function judgeUndecided(record: PaymentRecord, transaction: string): Promise<void> {
    const { id: payment } = record;
    if (credit) await options.reconcile(payment);
    const now = (credit ? await ledger.payment(payment) : record) ?? record;
    // Its client came for it at this very moment.
    if (now.state === "delivered") return;
    const reason = now.state === "settled" ? "settled_not_served" : "settlement_unknown";
    findings.waits({ payment, state: now.state, transaction, reason });
  }

  /** `released`, or `open` with a dead lease: no call was served for it, and none is at work. */
  async function judgeReleased({ landed, listed, payTo, memo }: Arrival, record: PaymentRecord) {
    const { id: payment, state, payer, amount, asset, assetAmount } = record;
    const account = creditedAccount(record);
    const facts = { payment, state, transaction: listed.signature };
    const sums = { account, amount, asset, assetAmount };
    if (credit && record.watched) {
      await options.reconcile(payment);
      if ((await ledger.payment(payment))?.state === "credited") {
        findings.differs({ ...facts, ...sums, problem: "transfer_without_call", credited: true });
        return;
      }
    }
    const { feePayer } = landed;
    await creditOrList({ ...facts, ...sums, payer, payTo, memo, feePayer, reason: "landed_after_release" });
  }

  async function judgeUnrecorded({ landed, listed, payTo, mint, memo }: Arrival): Promise<void> {
    if (options.misnamed.has(listed.signature)) return;
    // Served or credited long ago; the exported record says so.
    if (await ledger.isTrimmed(landed.id)) return;
    const facts = { payment: landed.id, state: undefined, transaction: listed.signature };
    if (listed.at === undefined || options.now() - listed.at < MIN_AGE_MS) {
      return findings.waits({ ...facts, reason: "recent" });
    }
    const assetAmount = gainOf(landed, payTo, mint);
    const inUsdc = mint === options.asset;
    const sums = { amount: inUsdc ? assetAmount : undefined, asset: mint, assetAmount };
    const [loser, ...others] = landed.changes.filter((each) => each.mint === mint && each.change < 0n);
    if (loser === undefined || others.length > 0) {
      const difference = { ...facts, ...sums, account: undefined, credited: false } as const;
      return findings.differs({ ...difference, problem: "payer_unclear" });
    }
    const { owner: payer } = loser;
    const account = `wallet:${payer}`;
    // Only the terms said what it was worth, and they are known to whoever was offered them.
    if (!inUsdc) {
      return findings.differs({ ...facts, ...sums, account, problem: "value_unknown", credited: false });
    }
    const transfer = { account, payer, payTo, memo, feePayer: landed.feePayer, reason: "never_presented" };
    await creditOrList({ ...facts, ...sums, ...transfer, amount: assetAmount });
  }

  async function creditOrList({ payment, state, account, ...transfer }: Creditable): Promise<void> {
    const { transaction, amount, asset, assetAmount } = transfer;
    const { network } = options;
    const outcome = credit ? await ledger.creditTransfer({ id: payment, network, ...transfer }) : undefined;
    if (outcome === "recorded") return findings.waits({ payment, state, transaction, reason: "in_progress" });
    const sums = { account, amount, asset, assetAmount };
    const difference = { payment, state, transaction, ...sums, credited: outcome !== undefined };
    findings.differs({ ...difference, problem: "transfer_without_call" });
  }

  return judge;
}
