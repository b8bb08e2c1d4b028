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
 * What the worker says. `opened` or `refused` comes first, once. A batch is answered by `committed` (the calls that need not be
 * durable) or by `failed`, and then, if it has others, in a `synced`. Both ways batches are answered in the order in which they were sent.
 */
export type FromWorker =
  /** `alone`: no other gateway serves from it. */
  | { readonly kind: "opened"; readonly alone: boolean }
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "committed"; readonly answers: readonly Answer[] }
  /** Of one or more batches, which survive a power cut now. */
  | { readonly kind: "synced"; readonly answers: readonly (readonly Answer[])[] }
  /** The batch has changed nothing. `fatal`: what is stored is no longer known. */
  | { readonly kind: "failed"; readonly message: string; readonly fatal: boolean };

export interface WorkerOptions {
  readonly path: string;
  readonly network: string;
  /** Calls are served from it, which is not so for a command of the operator's. */
  readonly serving: boolean;
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
  "refund",
  "createAccount",
  "creditAccount",
  "createKey",
  "revokeKey",
  "rotateKey",
  "changeKey",
  "setPepperMark",
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
  "pepperMark",
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

/**
 * True if this answer tells what others did, such as an answer that is given again. Whoever acts on it must not find later that a power cut has
 * undone what it stands on. A hold or claim that is admitted only says that there was room: whatever becomes of it is written behind.
 */
export function tellsOfOthers(call: Call, value: unknown): boolean {
  if (isRead(call) || call.method === "resume") return true;
  if (call.method !== "hold" && call.method !== "claim") return false;
  const outcome =
    typeof value === "object" && value !== null && "outcome" in value ? value.outcome : undefined;
  return call.method === "hold" ? outcome === "replay" : outcome !== "claimed";
}

/** True if this call changes nothing. */
export function isRead(call: Call): boolean {
  return READS.has(call.method);
}
