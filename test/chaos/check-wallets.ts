import type {
  Attempt,
  BookedEntry,
  BookedPayment,
  Books,
  Evidence,
  Transfer,
  WalletCall,
} from "./evidence.ts";
import { diedAround, type Finding, type Findings, hasLeft, isWithoutAnswer } from "./findings.ts";

/** A delivery is written behind the answer; a gateway that dies within this time may not have written it. */
const UNWRITTEN_MS = 7_000;
/** A settled payment is served once, and five times more (docs/architecture.md). */
const MOST_SERVINGS = 6;

interface Case {
  readonly call: WalletCall;
  readonly transfers: readonly Transfer[];
  readonly credits: ReadonlyMap<string, readonly BookedEntry[]>;
}

/** Compares what wallets paid on the chain with what their clients got and what the ledger says of it. */
export function checkWallets(evidence: Evidence, books: Books, findings: Findings): void {
  const credits = creditsByPayment(books);
  const transfers = transfersByPayment(evidence, findings);
  const signed = new Set(evidence.walletCalls.flatMap(({ payments }) => payments));
  for (const { id, signature } of evidence.transfers) {
    if (!signed.has(id)) findings.violation("transfer_that_nobody_signed", signature);
  }
  for (const [payment, entries] of credits) {
    const paid = transfers.get(payment)?.amount;
    for (const { amount } of entries) {
      if (amount !== paid) findings.violation("credit_without_transfer", payment);
    }
    if (entries.length > 1) findings.violation("credited_twice", payment);
  }
  for (const record of books.payments) checkRecord(record, transfers.get(record.id), findings);
  for (const call of evidence.walletCalls) {
    const landed = call.payments.flatMap((id) => transfers.get(id) ?? []);
    const one = { call, transfers: landed, credits };
    checkDeliveries(one, findings);
    checkTold(one, findings);
    checkRefusals(one, evidence, findings);
    checkTransfers(one, evidence, books, findings);
  }
  checkServedOnce(evidence, findings);
}

function creditsByPayment(books: Books): Map<string, BookedEntry[]> {
  const found = new Map<string, BookedEntry[]>();
  for (const entry of books.accounts.flatMap(({ journal }) => journal)) {
    if (entry.kind !== "owed_credit") continue;
    const id = entry.reference.replace(/^payment:/, "");
    found.set(id, [...(found.get(id) ?? []), entry]);
  }
  return found;
}

function transfersByPayment(evidence: Evidence, findings: Findings): Map<string, Transfer> {
  const found = new Map<string, Transfer>();
  for (const transfer of evidence.transfers) {
    if (found.has(transfer.id)) findings.violation("landed_twice", transfer.id);
    found.set(transfer.id, transfer);
  }
  return found;
}

function checkRecord(record: BookedPayment, landed: Transfer | undefined, findings: Findings): void {
  const says = ["settled", "delivered", "credited"].includes(record.state);
  const where = `${record.id} is ${record.state}`;
  if (says && landed === undefined) findings.violation("settled_without_transfer", where);
  if (!says && landed !== undefined) findings.violation("transfer_not_recorded", where);
  if (says && landed !== undefined) {
    if (record.amount !== landed.amount || record.transaction !== landed.signature)
      findings.violation("record_differs_from_chain", where);
  }
  if (record.watched) findings.violation("still_watched", where);
  if (record.servings > MOST_SERVINGS) findings.violation("served_too_often", `${where}: ${record.servings}`);
}

/** Whoever has an answer has paid for it, by a transfer of its own for this very call. */
function checkDeliveries({ call, transfers }: Case, findings: Findings): void {
  for (const { answer, transaction } of call.attempts) {
    if (answer === undefined) continue;
    const paid = transfers.some(({ signature, amount }) => signature === transaction && amount > 0n);
    if (!paid) findings.violation("delivered_without_transfer", `${call.id} for ${transaction}`);
  }
}

/** A twin is told what became of the earlier payment, so it may be any payment of the call. */
function checkTold({ call, credits }: Case, findings: Findings): void {
  const told = call.attempts.some(({ code }) => code === "payment_credited");
  if (told && !call.payments.some((id) => credits.has(id)))
    findings.violation("told_of_a_credit_that_is_not_there", call.id);
}

/** Who is told that nothing was settled pays again: that must be true, unless the facilitator itself said so and was wrong. */
function checkRefusals({ call, transfers }: Case, { misled }: Evidence, findings: Findings): void {
  for (const { id } of transfers) {
    if (!call.attempts.some(({ status, payment }) => status === 402 && payment === id)) continue;
    if (misled.includes(id)) findings.add({ allowed: "refused by the facilitator, landed all the same" }, id);
    else findings.violation("told_to_pay_again", `${id} of ${call.id}`);
  }
}

/** Whatever was paid is one delivered call or one credit, not neither and not both. */
function checkTransfers(one: Case, evidence: Evidence, books: Books, findings: Findings): void {
  const { call, transfers, credits } = one;
  for (const { id, signature } of transfers) {
    const got = call.attempts.filter(({ answer, transaction }) => answer && transaction === signature);
    const isCredited = credits.has(id);
    const where = `${id} of ${call.id}`;
    if (got.length === 0 && !isCredited) {
      findings.add(judgeUndelivered(one, id, evidence, books), where);
    } else if (got.length > 0 && isCredited) {
      const [first] = got;
      const unwritten = first !== undefined && diedAround(evidence, first, UNWRITTEN_MS);
      findings.add(unwritten ? UNWRITTEN_DELIVERY : BOTH, where);
    }
  }
}

const BOTH: Finding = { violation: "delivered_and_credited" };
const UNWRITTEN_DELIVERY: Finding = { allowed: "delivered, and credited since its gateway was killed" };

/** Nobody has the answer: its client must have left while it was on its way, and the ledger must know. */
function judgeUndelivered({ call }: Case, id: string, evidence: Evidence, books: Books): Finding {
  const state = books.payments.find((record) => record.id === id)?.state;
  const own = call.attempts.filter(({ payment }) => payment === id);
  if (state !== "delivered") return { violation: "transfer_neither_delivered_nor_credited" };
  if (isWithoutAnswer(own, hasLeft, "response_not_stored"))
    return { allowed: "paid, and left by the client" };
  if (isWithoutAnswer(own, (attempt) => wasCut(attempt, evidence), "response_not_stored"))
    return { allowed: "delivered to a connection that died with its gateway" };
  return { violation: "transfer_neither_delivered_nor_credited" };
}

function wasCut(attempt: Attempt, evidence: Evidence): boolean {
  return attempt.end === "dropped" && attempt.status === 200 && diedAround(evidence, attempt, 1_000);
}

/**
 * One payment buys one answer, however often it is shown again: unless the gateway of the earlier one died before it had written
 * that delivery.
 */
function checkServedOnce(evidence: Evidence, findings: Findings): void {
  const byTransaction = new Map<string, Map<number, Attempt>>();
  for (const attempt of evidence.walletCalls.flatMap(({ attempts }) => attempts)) {
    const { answer, transaction } = attempt;
    if (answer === undefined || transaction === undefined) continue;
    const runs = byTransaction.get(transaction) ?? new Map<number, Attempt>();
    byTransaction.set(transaction, runs);
    if (!runs.has(answer.run)) runs.set(answer.run, attempt);
  }
  for (const [transaction, runs] of byTransaction) {
    const earlier = [...runs.values()].sort((a, b) => a.endedAt - b.endedAt).slice(0, -1);
    if (earlier.length === 0) continue;
    const unwritten = earlier.every((attempt) => diedAround(evidence, attempt, UNWRITTEN_MS));
    findings.add(
      unwritten ? UNWRITTEN_SERVING : { violation: "served_twice" },
      `${transaction}: runs ${[...runs.keys()].join(", ")}`,
    );
  }
}

const UNWRITTEN_SERVING: Finding = { allowed: "delivered, and served again since its gateway was killed" };
