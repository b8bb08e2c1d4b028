import type { Attempt, BookedAccount, Books, Evidence, KeyedCall } from "./evidence.ts";
import { diedAround, type Findings, hasLeft, isWithoutAnswer } from "./findings.ts";

/** The debit of a stream follows its last byte, a refund the answer; both are tried for some 5 s (docs/architecture.md). */
const UNWRITTEN_MS = 7_000;
/** A connection that breaks with its gateway breaks at once. */
const DROPPED_MS = 1_000;
/** A call that was left early costs less than any whole one: whole ones cost at least this. MicroUsd. */
export const LEAST_WHOLE_COST = 200_000n;

/** Compares what keyed clients got with what the ledger took from their accounts. */
export function checkKeyed(evidence: Evidence, books: Books, findings: Findings): void {
  const accounts = new Map(books.accounts.map((account) => [account.id, account]));
  const calls = new Map<string, KeyedCall[]>();
  for (const call of evidence.keyedCalls) {
    const list = calls.get(call.account);
    if (list === undefined) calls.set(call.account, [call]);
    else list.push(call);
  }
  for (const [id, list] of calls) {
    const account = accounts.get(id);
    if (account === undefined) findings.violation("account_is_gone", id);
    else checkAccount(account, list, evidence, findings);
  }
  checkCredits(evidence, accounts, findings);
}

/** Debits that were not given back, by hold. */
function debitsOf(account: BookedAccount): readonly bigint[] {
  const refunded = new Set(
    account.journal.flatMap(({ reference }) => /^(?:credit:)?refund:(.+)$/.exec(reference)?.[1] ?? []),
  );
  const captures = account.journal.filter(
    ({ kind, reference }) => kind === "capture" && !refunded.has(reference.replace(/^hold:/, "")),
  );
  return captures.map(({ amount }) => -amount).filter((amount) => amount > 0n);
}

function checkAccount(
  account: BookedAccount,
  calls: readonly KeyedCall[],
  evidence: Evidence,
  findings: Findings,
): void {
  const debits = debitsOf(account);
  const whole = new Map<bigint, number>();
  for (const amount of debits) {
    if (amount >= LEAST_WHOLE_COST) whole.set(amount, (whole.get(amount) ?? 0) + 1);
  }
  for (const call of calls) {
    const taken = whole.get(call.cost) ?? 0;
    whole.delete(call.cost);
    if (taken > 1) findings.violation("debited_twice", `${call.id}: ${taken} times`);
    const got = call.attempts.filter(({ answer }) => answer !== undefined);
    if (taken === 0 && got.length > 0) judgeUndebited(call, evidence, findings);
    if (taken > 0 && got.length === 0) judgeUndelivered(call, evidence, findings);
    const runs = new Set(got.map(({ answer }) => answer?.run));
    if (runs.size > 1) findings.violation("answered_twice", `${call.id}: runs ${[...runs].join(", ")}`);
  }
  for (const amount of whole.keys()) findings.violation("debit_of_no_call", `${account.id}: ${amount}`);
  const partial = debits.filter((amount) => amount < LEAST_WHOLE_COST).length;
  const left = calls.reduce((sum, { attempts }) => sum + attempts.filter(hasLeft).length, 0);
  if (partial > left) findings.violation("partial_debit_of_nobody_who_left", `${account.id}: ${partial}`);
  if (partial > 0)
    findings.add({ allowed: "charged for what came before the client left" }, account.id, partial);
}

function judgeUndebited(call: KeyedCall, evidence: Evidence, findings: Findings): void {
  const got = call.attempts.filter(({ answer }) => answer !== undefined);
  const died = call.streams && got.some((attempt) => diedAround(evidence, attempt, UNWRITTEN_MS));
  if (died) findings.add({ allowed: "stream whose debit died with its gateway" }, call.id);
  else findings.violation("delivered_without_debit", call.id);
}

/** It was charged in full and its client has nothing: only who left, or whose gateway died, can be in this place. */
function judgeUndelivered(call: KeyedCall, evidence: Evidence, findings: Findings): void {
  const wasCut = (one: Attempt): boolean => one.end === "dropped" && diedAround(evidence, one, DROPPED_MS);
  const wasNotGivenBack = (one: Attempt): boolean =>
    one.code === "ledger_unavailable" && diedAround(evidence, one, UNWRITTEN_MS);
  const notKept = "idempotent_answer_not_stored";
  if (isWithoutAnswer(call.attempts, hasLeft, notKept))
    findings.add({ allowed: "charged in full, and left by the client" }, call.id);
  else if (isWithoutAnswer(call.attempts, wasCut, notKept))
    findings.add({ allowed: "charged, and its answer died with its gateway" }, call.id);
  else if (call.attempts.some(wasNotGivenBack))
    findings.add({ allowed: "charged, and giving it back died with its gateway" }, call.id);
  else findings.violation("debited_without_delivery", call.id);
}

function checkCredits(
  evidence: Evidence,
  accounts: ReadonlyMap<string, BookedAccount>,
  findings: Findings,
): void {
  const given = new Map(evidence.credits.map((credit) => [`${credit.account} ${credit.reference}`, credit]));
  for (const account of accounts.values()) {
    for (const { kind, reference, amount } of account.journal) {
      if (kind !== "credit" || /^(?:credit:)?refund:/.test(reference)) continue;
      const name = `${account.id} ${reference.replace(/^credit:/, "")}`;
      if (given.get(name)?.amount !== amount) findings.violation("credit_that_nobody_gave", name);
      given.delete(name);
    }
  }
  for (const [name, { confirmed }] of given) {
    if (confirmed) findings.violation("credit_lost", name);
  }
}
