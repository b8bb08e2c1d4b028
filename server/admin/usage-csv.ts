import type { UsageFilter, UsageRecord } from "../ledger/call-ledger.ts";
import { usageView } from "./views.ts";

const COLUMNS = [
  "id",
  "at",
  "tier",
  "account",
  "key_id",
  "key_label",
  "payer",
  "route",
  "model",
  "provider",
  "prompt_tokens",
  "completion_tokens",
  "estimated",
  "held_usd",
  "charged_usd",
  "upstream_cost_usd",
  "status",
  "upstream_status",
  "ms",
  "transaction",
  "not_charged",
] as const;

/** Records a page; an export holds no more than one of them in memory. */
const PAGE = 1_000;

/**
 * Usage as CSV (RFC 4180), newest first, a page at a time, the head line with the first: all records, or `filter.limit` of them if it is
 * given. A cell that a spreadsheet would run as a formula is defused: labels are whatever somebody typed.
 */
export async function* usageCsv(
  usage: (filter: UsageFilter) => Promise<readonly UsageRecord[]>,
  filter: Omit<UsageFilter, "limit"> & { readonly limit?: number | undefined },
): AsyncGenerator<string> {
  let text = `${COLUMNS.join(",")}\r\n`;
  let left = filter.limit ?? Number.POSITIVE_INFINITY;
  let before = filter.before;
  for (;;) {
    const limit = Math.min(left, PAGE);
    const page = await usage({ ...filter, before, limit });
    yield text + page.map(csvLine).join("");
    text = "";
    before = page.at(-1)?.id;
    left -= page.length;
    if (page.length < limit || left === 0) return;
  }
}

function csvLine(record: UsageRecord): string {
  const view = usageView(record);
  return `${COLUMNS.map((column) => csvCell(view[column])).join(",")}\r\n`;
}

/** A cell (RFC 4180) of text that somebody may have chosen; null is empty. Some spreadsheets read the wide signs of East Asia as the plain ones. */
export function csvCell(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = String(value);
  const begins = /^\s*[=+\-@＝＋－＠\t\r]/.test(text) ? `'${text}` : text;
  // A spreadsheet may begin a cell at these as well, whatever stands around it.
  const safe = begins.replace(/[;|\t]\s*(?=[=+\-@＝＋－＠])/g, "$&'");
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
