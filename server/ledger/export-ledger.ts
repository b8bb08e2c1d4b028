import type { JournalEntry } from "./account-ledger.ts";
import type { UsageRecord } from "./call-ledger.ts";
import type { PaymentRecord } from "./ledger.ts";

/** What can be exported: journal entries of all accounts, payment records, usage records. */
export const EXPORT_KINDS = ["journal", "payments", "usage"] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];

const DAY_MS = 86_400_000;
/**
 * Younger records are never trimmed. A signed transaction lives about 90 s; tokens, stored answers, idempotency keys and running
 * calls live a day at most, by their settings' bounds. So nobody can come back for what is older, but out of mischief.
 */
export const LEAST_TRIM_AGE_MS = DAY_MS;
/** Below this the command line asks twice: room for disputes, for a weekend, and for a second look at the files. */
export const USUAL_TRIM_AGE_MS = 7 * DAY_MS;

/** A journal entry, with the key that spent it. */
export interface ExportedEntry extends JournalEntry {
  readonly keyId: string | undefined;
}

export type ExportRecord =
  | { readonly kind: "journal"; readonly entry: ExportedEntry }
  | { readonly kind: "payments"; readonly payment: PaymentRecord }
  | { readonly kind: "usage"; readonly usage: UsageRecord };

/** One page of what is not marked as exported. */
export interface ExportPage {
  readonly records: readonly ExportRecord[];
  /** Give these to {@link ExportLedger.markExported} once the records are written durably. Opaque. */
  readonly marks: readonly string[];
  /** Give this to get the page after; undefined: that was the last one. Opaque. */
  readonly next: string | undefined;
}

/** Moving what is finished out of the store: read pages, write them durably, mark them; then what is old may be trimmed. */
export interface ExportLedger {
  /**
   * What was not marked as exported when the walk began, page by page; `after` is the `next` of the page before, undefined for the
   * first. A page has about `limit` records, and may have none though it is not the last. A payment counts as not exported again
   * as soon as its {@link paymentVersion} changes.
   * Race: two walks at once give the same records to both. What is made or changes during a walk is in it, or in a later one.
   */
  unexported(kind: ExportKind, after: string | undefined, limit: number): Promise<ExportPage>;
  /**
   * Marks records as exported. Durable. Journal and usage are marked up to a place, which never goes back; a payment only if it
   * still is the version that was read.
   * Race: any order of marks, of any number of walks, is safe, as each walk began where everything before was marked.
   */
  markExported(kind: ExportKind, marks: readonly string[]): Promise<void>;
  /**
   * Deletes what was exported and is older than this, in bounded steps; returns how many. Durable. Journal entries leave their sums
   * behind, so no balance, no key's usage and no check changes; the references of credits stay. Of payments only those that are
   * delivered, credited, or released and not watched, and exported after their last change; ids of the first two are remembered
   * for ever: a claim is answered `trimmed`, {@link isTrimmed} is true and a transfer is never credited.
   * Race: a payment that is claimed anew first is no longer finished and stays; one that is trimmed first is claimed as a new one
   * (nothing had moved). Rejects an age below {@link LEAST_TRIM_AGE_MS}.
   */
  trimExported(kind: ExportKind, olderThanMs: number): Promise<number>;
  /** A payment of this id was delivered or credited, and its record was trimmed. */
  isTrimmed(id: string): Promise<boolean>;
}

/** What changes when a payment does: a lease that is only renewed is no change. The stores compute the same text. */
export function paymentVersion({ state, fence, updatedAt, watched, orphaned }: PaymentRecord): string {
  return [state, fence, updatedAt, watched ? 1 : 0, orphaned ? 1 : 0].join(".");
}

/** Throws Error where an age is too low to trim by. */
export function demandTrimAge(olderThanMs: number): void {
  if (olderThanMs >= LEAST_TRIM_AGE_MS) return;
  throw new Error("What is younger than a day is never trimmed.");
}
