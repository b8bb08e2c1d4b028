import { ERRORS } from "../../server/errors.ts";
import { checkKeyed } from "./check-keyed.ts";
import { checkWallets } from "./check-wallets.ts";
import type { Attempt, Books, ClientCall, Evidence } from "./evidence.ts";
import { createFindings, type Findings } from "./findings.ts";

/**
 * Holds our ledger against what the chain, the upstream and the clients know. Pure: it reads nothing else. Every promise that
 * is broken is a violation; what the documentation allows when a process is killed is counted beside them.
 */
export function check(evidence: Evidence, books: Books): Findings {
  const findings = createFindings();
  const calls: readonly ClientCall[] = [...evidence.walletCalls, ...evidence.keyedCalls];
  checkAnswers(evidence, calls, findings);
  checkRuns(evidence, findings);
  checkWallets(evidence, books, findings);
  checkKeyed(evidence, books, findings);
  checkBalances(books, findings);
  return findings;
}

function checkAnswers(evidence: Evidence, calls: readonly ClientCall[], findings: Findings): void {
  const runs = new Map(evidence.runs.map((run) => [run.run, run]));
  const digests = new Map<number, string>();
  for (const call of calls) {
    if (!call.finished) findings.violation("call_without_an_end", call.id);
    for (const attempt of call.attempts) {
      checkShape(call, attempt, findings);
      const { answer } = attempt;
      if (answer === undefined) continue;
      const run = runs.get(answer.run);
      if (answer.call !== call.id || run?.call !== call.id)
        findings.violation("answer_of_another_call", `${call.id} got ${answer.call}`);
      const before = digests.get(answer.run);
      if (before !== undefined && before !== answer.digest) findings.violation("replay_differs", call.id);
      digests.set(answer.run, answer.digest);
    }
  }
}

function checkShape(call: ClientCall, attempt: Attempt, findings: Findings): void {
  const { end, status = 0, code, oddity } = attempt;
  if (end !== "answered") return;
  if (status >= 400 && !Object.hasOwn(ERRORS, code ?? "")) {
    findings.violation(
      status >= 500 ? "5xx_without_code" : "4xx_without_code",
      `${call.id}: ${status} ${code}`,
    );
  }
  if (oddity !== undefined) findings.violation("short_answer_passed_as_whole", `${call.id}: ${oddity}`);
}

/** The upstream runs at most once for each request that could pay for it, and for nothing that nobody asked. */
function checkRuns({ runs, walletCalls, keyedCalls }: Evidence, findings: Findings): void {
  const counts = new Map<string, number>();
  for (const { call } of runs) counts.set(call, (counts.get(call) ?? 0) + 1);
  const judge = ({ id }: ClientCall, paying: readonly Attempt[]): void => {
    const count = counts.get(id) ?? 0;
    const sent = paying.filter(({ end }) => end !== "unsent").length;
    counts.delete(id);
    if (count > sent) findings.violation("more_runs_than_requests", `${id}: ${count} for ${sent}`);
    if (count > 1) findings.add({ allowed: "upstream runs beyond the first of a call" }, id, count - 1);
  };
  for (const call of walletCalls)
    judge(
      call,
      call.attempts.filter(({ payment }) => payment !== undefined),
    );
  for (const call of keyedCalls) judge(call, call.attempts);
  for (const id of counts.keys()) findings.violation("run_that_nobody_asked_for", id);
}

function checkBalances(books: Books, findings: Findings): void {
  for (const { id, balance, held, journal } of books.accounts) {
    const total = journal.reduce((sum, { amount }) => sum + amount, 0n);
    if (balance !== total) findings.violation("balance_is_not_its_journal", `${id}: ${balance}, ${total}`);
    if (balance < 0n) findings.violation("balance_below_zero", id);
    if (held !== 0n) findings.violation("hold_left", `${id}: ${held}`);
    const references = new Set(journal.map(({ reference }) => reference));
    if (references.size !== journal.length) findings.violation("journal_entry_twice", id);
  }
  if (books.undecided > 0) findings.violation("undecided", String(books.undecided));
  for (const discrepancy of books.discrepancies) findings.violation("ledger_check", discrepancy);
}
