import type { AccountAlertLedger } from "./account-alerts.ts";
import type { AccountLedger } from "./account-ledger.ts";
import type { CallLedger } from "./call-ledger.ts";
import type { ExportLedger } from "./export-ledger.ts";
import type { Ledger } from "./ledger.ts";
import type { SessionLedger } from "./session-ledger.ts";
import { type Link, openLink, type Serving } from "./sqlite-link.ts";

export interface SqliteLedgerOptions {
  /** The database file; it and its directory are made if missing. */
  readonly path: string;
  /** CAIP-2, or `local`. Stamped into a new database; an existing one must carry the same. */
  readonly network: string;
  /**
   * Given by who serves calls from it. If no other process does, the leases of gateways that died end at once; it should be told to the
   * operator if one does.
   */
  readonly serving?: Serving | undefined;
  /** The store's clock, ms since 1970. Tests only. */
  readonly clock?: () => number;
  /** Called once, when what is stored is no longer known: the process must stop, and a restart reads what is there. */
  readonly onFatal: (error: Error) => void;
}

/**
 * Opens the embedded ledger: SQLite (WAL) in a worker thread, with group commit. What must be durable is answered after a sync of the log
 * (sqlite-log-sync.ts), for which neither the event loop nor the worker waits.
 *
 * Rejects with Error if the file is no ledger, was made by a newer version or belongs to another network.
 * A failing change rejects alone with `LedgerFault`. A failing COMMIT or sync, or the end of the worker rejects everything
 * pending and all later calls with `LedgerFault`, and calls `onFatal`.
 */
export async function openSqliteLedger(options: SqliteLedgerOptions): Promise<Ledger> {
  const { path, network, clock, onFatal, serving } = options;
  const link = await openLink({ path, network, clock, onFatal, serving });
  return {
    claim: (request) => link.call({ method: "claim", args: [request] }),
    resume: (...args) => link.call({ method: "resume", args }),
    renew: (leases, leaseMs) => link.call({ method: "renew", args: [leases, leaseMs] }),
    beginSettle: (id, fence, leaseMs) => link.call({ method: "beginSettle", args: [id, fence, leaseMs] }),
    orphan: (id, fence) => link.call({ method: "orphan", args: [id, fence] }),
    settled: (id, fence, transaction, keep) =>
      link.call({ method: "settled", args: [id, fence, transaction, keep] }),
    unknown: (id, fence, reason, transaction) =>
      link.call({ method: "unknown", args: [id, fence, reason, transaction] }),
    release: (id, fence, release) => link.call({ method: "release", args: [id, fence, release] }),
    deliver: (id, fence, keep, usage) => link.call({ method: "deliver", args: [id, fence, keep, usage] }),
    park: (id, fence, keep) => link.call({ method: "park", args: [id, fence, keep] }),
    credit: (id, fence, reason) => link.call({ method: "credit", args: [id, fence, reason] }),
    takeUndecided: (id, height, leaseMs) =>
      link.call({ method: "takeUndecided", args: [id, height, leaseMs] }),
    decide: (...args) => link.call({ method: "decide", args }),
    listUndecided: (limit) => link.call({ method: "listUndecided", args: [limit] }),
    takeAbandoned: (idleMs, leaseMs, limit) =>
      link.call({ method: "takeAbandoned", args: [idleMs, leaseMs, limit] }),
    payment: (id, payer) => link.call({ method: "payment", args: [id, payer] }),
    payments: (after, limit) => link.call({ method: "payments", args: [after, limit] }),
    creditTransfer: (transfer) => link.call({ method: "creditTransfer", args: [transfer] }),
    ...accountCalls(link),
    ...alertCalls(link),
    ...callCalls(link),
    ...exportCalls(link),
    ...sessionCalls(link),
    sweepResponses: () => untilNone(() => link.call({ method: "sweepResponses", args: [] })),
    ping: () => link.call({ method: "ping", args: [] }),
    close: () => link.close(),
  };
}

function accountCalls(link: Link): AccountLedger {
  return {
    createAccount: (id, name) => link.call({ method: "createAccount", args: [id, name] }),
    accounts: () => link.call({ method: "accounts", args: [] }),
    account: (id) => link.call({ method: "account", args: [id] }),
    balance: (account) => link.call({ method: "balance", args: [account] }),
    journal: (account) => link.call({ method: "journal", args: [account] }),
    journalPage: (account, before, limit) =>
      link.call({ method: "journalPage", args: [account, before, limit] }),
    paidInPage: (account, before, limit) =>
      link.call({ method: "paidInPage", args: [account, before, limit] }),
    creditAccount: (account, amount, reference) =>
      link.call({ method: "creditAccount", args: [account, amount, reference] }),
    createKey: (id, account, secret, settings, repeatable) =>
      link.call({ method: "createKey", args: [id, account, secret, settings, repeatable] }),
    keys: (account) => link.call({ method: "keys", args: [account] }),
    key: (id) => link.call({ method: "key", args: [id] }),
    keyBySecret: (hash) => link.call({ method: "keyBySecret", args: [hash] }),
    revokeKey: (id) => link.call({ method: "revokeKey", args: [id] }),
    rotateKey: (id, secret, graceMs, repeatable) =>
      link.call({ method: "rotateKey", args: [id, secret, graceMs, repeatable] }),
    changeKey: (id, change) => link.call({ method: "changeKey", args: [id, change] }),
    pepperMark: () => link.call({ method: "pepperMark", args: [] }),
    setPepperMark: (mark) => link.call({ method: "setPepperMark", args: [mark] }),
    setProviderKey: (account, provider, key) =>
      link.call({ method: "setProviderKey", args: [account, provider, key] }),
    deleteProviderKey: (account, provider) =>
      link.call({ method: "deleteProviderKey", args: [account, provider] }),
    providerKeys: (account) => link.call({ method: "providerKeys", args: [account] }),
    takeAlerts: (limit, leaseMs) => link.call({ method: "takeAlerts", args: [limit, leaseMs] }),
    endAlert: (id) => link.call({ method: "endAlert", args: [id] }),
    postponeAlert: (id, delayMs) => link.call({ method: "postponeAlert", args: [id, delayMs] }),
    checkAccounts: () => link.call({ method: "checkAccounts", args: [] }),
  };
}

function alertCalls(link: Link): AccountAlertLedger {
  return {
    setAlertSettings: (account, wishes, webhook) =>
      link.call({ method: "setAlertSettings", args: [account, wishes, webhook] }),
    alertSettings: (account) => link.call({ method: "alertSettings", args: [account] }),
    deleteAlertSettings: (account) => link.call({ method: "deleteAlertSettings", args: [account] }),
    resumeAlerts: (account) => link.call({ method: "resumeAlerts", args: [account] }),
    replaceAlertSecret: (account, secret) =>
      link.call({ method: "replaceAlertSecret", args: [account, secret] }),
    accountAlerts: (account) => link.call({ method: "accountAlerts", args: [account] }),
    takeAccountAlerts: (limit, leaseMs) => link.call({ method: "takeAccountAlerts", args: [limit, leaseMs] }),
    endAccountAlert: (id, outcome) => link.call({ method: "endAccountAlert", args: [id, outcome] }),
    postponeAccountAlert: (id, delayMs) => link.call({ method: "postponeAccountAlert", args: [id, delayMs] }),
  };
}

function callCalls(link: Link): CallLedger {
  return {
    refund: (request) => link.call({ method: "refund", args: [request] }),
    hold: (request) => link.call({ method: "hold", args: [request] }),
    renewHolds: (ids, leaseMs) => link.call({ method: "renewHolds", args: [ids, leaseMs] }),
    capture: (request) => link.call({ method: "capture", args: [request] }),
    keepAnswer: (holdId, keep) => link.call({ method: "keepAnswer", args: [holdId, keep] }),
    releaseHold: (id, usage) => link.call({ method: "releaseHold", args: [id, usage] }),
    recordUsage: (usage, charged) => link.call({ method: "recordUsage", args: [usage, charged] }),
    usage: (filter) => link.call({ method: "usage", args: [filter] }),
    sweepHolds: () => link.call({ method: "sweepHolds", args: [] }),
  };
}

function exportCalls(link: Link): ExportLedger {
  return {
    unexported: (kind, after, limit) => link.call({ method: "unexported", args: [kind, after, limit] }),
    markExported: (kind, marks) => link.call({ method: "markExported", args: [kind, marks] }),
    trimExported: (kind, olderThanMs) =>
      untilNone(() => link.call({ method: "trimExported", args: [kind, olderThanMs] })),
    isTrimmed: (id) => link.call({ method: "isTrimmed", args: [id] }),
  };
}

function sessionCalls(link: Link): SessionLedger {
  return {
    useOnce: (wallet, key, ttlMs) => link.call({ method: "useOnce", args: [wallet, key, ttlMs] }),
    openSession: (session) => link.call({ method: "openSession", args: [session] }),
    refreshSession: (request) => link.call({ method: "refreshSession", args: [request] }),
    hasSession: (wallet, id) => link.call({ method: "hasSession", args: [wallet, id] }),
    endSession: (wallet, id) => link.call({ method: "endSession", args: [wallet, id] }),
    endSessions: (wallet) => link.call({ method: "endSessions", args: [wallet] }),
  };
}

/** A transaction deletes a bounded number, so that a sweep of many holds nobody up. */
async function untilNone(step: () => Promise<number>): Promise<number> {
  let total = 0;
  for (;;) {
    const deleted = await step();
    if (deleted === 0) return total;
    total += deleted;
  }
}
