import type { Ledger } from "./ledger.ts";

/** The ledger's methods that the worker thread carries out, one atomic step each. */
export type Method = Exclude<keyof Ledger, "close">;
type Args = { readonly [M in Method]: Parameters<Ledger[M]> };
export type Results = { readonly [M in Method]: Awaited<ReturnType<Ledger[M]>> };

/** The ledger as the worker sees it: synchronous, and told what time it is (ms since 1970). */
export type Handlers = { readonly [M in Method]: (now: number, ...args: Args[M]) => Results[M] };

/** One call on its way to the worker. */
export type Call<M extends Method = Method> = {
  readonly [K in M]: { readonly method: K; readonly args: Args[K] };
}[M];

/**
 * `close` is sent last and alone; a batch is applied in one transaction, in its order. `times` has what the clock said
 * at each call; without one (it is for tests) it is empty and the worker's clock decides.
 */
export type ToWorker =
  | { readonly kind: "batch"; readonly calls: readonly Call[]; readonly times: readonly number[] }
  | { readonly kind: "close" };

/** The answer to the call at `index` of the batch, or why that call alone changed nothing. */
export type Answer =
  | readonly [index: number, outcome: "value", value: unknown]
  | readonly [index: number, outcome: "fault", message: string];

/**
 * What the worker says. `opened` or `refused` comes first, once. A batch is answered by at most one `early` (before
 * COMMIT: the calls that are not durable) and then by one `committed` (the durable ones) or `failed`.
 */
export type FromWorker =
  | { readonly kind: "opened" }
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "early"; readonly answers: readonly Answer[] }
  | { readonly kind: "committed"; readonly answers: readonly Answer[] }
  /** Every call of the batch without an answer fails. `fatal`: what is stored is no longer known. */
  | { readonly kind: "failed"; readonly message: string; readonly fatal: boolean };

export interface WorkerOptions {
  readonly path: string;
  readonly network: string;
}

const DURABLE: ReadonlySet<Method> = new Set<Method>([
  "beginSettle",
  "settled",
  "unknown",
  "deliver",
  "park",
  "credit",
  "creditTransfer",
  "decide",
  "ping",
  "capture",
  "createAccount",
  "creditAccount",
  "createKey",
  "revokeKey",
  "rotateKey",
  "changeKey",
  "setProviderKey",
  "deleteProviderKey",
  "endAlert",
  "setAlertSettings",
  "deleteAlertSettings",
  "replaceAlertSecret",
  "resumeAlerts",
  "endAccountAlert",
  "markExported",
  "trimExported",
  "useOnce",
  "openSession",
  "refreshSession",
  "endSession",
  "endSessions",
]);

const READS: ReadonlySet<Method> = new Set<Method>([
  "payment",
  "payments",
  "listUndecided",
  "accounts",
  "account",
  "balance",
  "journal",
  "journalPage",
  "paidInPage",
  "keys",
  "key",
  "keyBySecret",
  "providerKeys",
  "alertSettings",
  "accountAlerts",
  "usage",
  "checkAccounts",
  "unexported",
  "isTrimmed",
  "hasSession",
]);

/** True if the caller must not hear of this call's success before it survives a power cut. */
export function isDurable(call: Call): boolean {
  return call.method === "release" ? call.args[2].watched : DURABLE.has(call.method);
}

/** True if nobody waits for this call: it goes with what comes in the next milliseconds, and makes nobody wait for an fsync. */
export function isUnhurried(call: Call): boolean {
  return call.method === "capture" && call.args[0].unhurried;
}

/** True if this call changes nothing. */
export function isRead(call: Call): boolean {
  return READS.has(call.method);
}
