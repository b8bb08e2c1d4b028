import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { SETTLE_REASONS, settleReasonMeaning } from "../../facilitator-client/reasons.ts";

/** The source of an entry of the installed package, with every chunk it imports. */
async function sourceOf(specifier: string): Promise<string> {
  const read = new Set<string>();
  async function follow(path: string): Promise<string> {
    if (read.has(path)) return "";
    read.add(path);
    const source = await readFile(path, "utf8");
    const imports = [...source.matchAll(/from "(\.[^"]+)"|import "(\.[^"]+)"/g)];
    const parts = imports.map(([, from, bare]) => follow(join(dirname(path), from ?? bare ?? "")));
    return [source, ...(await Promise.all(parts))].join("\n");
  }
  return follow(fileURLToPath(import.meta.resolve(specifier)));
}

/** Constants such as `ErrMemoCount = "..."`, and the literals of the v1 facilitator's answers. */
function reasonsIn(source: string): string[] {
  const constants = [...source.matchAll(/\bErr[A-Z]\w* = "([^"]+)"/g)];
  const literals = [
    ...source.matchAll(/(?:errorReason|invalidReason):[^\n]*?"([a-z0-9_]+)"/g),
    ...source.matchAll(/throw new Error\(\s*"([a-z0-9_]+)"\s*\)/g),
    ...source.matchAll(/invalidReasonByIndex\[i\] \?\? "([a-z0-9_]+)"/g),
  ];
  const indexed = [...source.matchAll(/invalidReasonByIndex = \[([^\]]*)\]/g)].flatMap(([, list = ""]) => [
    ...list.matchAll(/"([a-z0-9_]+)"/g),
  ]);
  return [...new Set([...constants, ...literals, ...indexed].map(([, reason = ""]) => reason))];
}

const exact = await sourceOf("@x402/svm/exact/facilitator");
const v1 = await sourceOf("@x402/svm/exact/v1/facilitator");
const core = await sourceOf("@x402/core/facilitator");

describe("the installed facilitator", () => {
  const reasons = [...new Set([exact, v1, core].flatMap(reasonsIn))].sort();

  test("has the reasons this test looks for", () => {
    expect(reasons.length).toBeGreaterThanOrEqual(50);
    expect(reasons).toContain("invalid_exact_svm_transaction_simulation_failed");
    expect(reasons).toContain("transaction_simulation_failed");
    expect(reasons).toContain("verification_failed");
    expect(reasons).toContain("invalid_exact_svm_payload_unknown_optional_instruction");
  });

  test.each(reasons)("%s is in the table", (reason) => {
    expect(SETTLE_REASONS.has(reason)).toBe(true);
  });
});

/** Said while or after broadcasting: between `sendTransaction` and the answer. */
test.each([
  "invalid_exact_svm_transaction_failed",
  "transaction_failed",
  "duplicate_settlement",
  "settlement_pending",
  "post_settlement_transfer_not_confirmed",
  "invalid_transaction_state",
  "unexpected_settle_error",
  "unexpected_verify_error",
  "settle_exact_svm_transaction_confirmation_timed_out",
  "settle_exact_svm_block_height_exceeded",
  "something_new",
  "",
  "refused",
])("%j may have landed", (reason) => {
  expect(settleReasonMeaning(reason)).toBe("unknown");
});

test("in the official settle, nothing it says after sending is held to be refused", () => {
  const sections = [exact, v1].map((source) => {
    const settle = /async settle\(payload, requirements\) \{([\s\S]*?)\n {2}\}\n/g;
    return [...source.matchAll(settle)].map(([, body = ""]) => body);
  });
  const names = new Map(
    [...exact.matchAll(/\b(Err[A-Z]\w*) = "([^"]+)"/g)].map(([, k = "", v = ""]) => [k, v]),
  );
  const afterSending = sections.flat().flatMap((body) => {
    const tail = body.slice(body.indexOf("sendTransaction"));
    const found = [...tail.matchAll(/errorReason: (?:(Err\w+)|"([a-z0-9_]+)")|^\s+(Err\w+),$/gm)];
    return found.map(([, constant, literal, argument]) => literal ?? names.get(constant ?? argument ?? ""));
  });
  expect(new Set(afterSending)).toEqual(
    new Set([
      "invalid_exact_svm_transaction_failed",
      "settlement_pending",
      "post_settlement_transfer_not_confirmed",
      "transaction_failed",
    ]),
  );
  for (const reason of afterSending) expect(settleReasonMeaning(reason ?? "")).toBe("unknown");
});

test.each([
  ["invalid_exact_svm_transaction_simulation_failed", "refused"],
  ["invalid_exact_svm_smart_wallet_program_not_allowed: 11111111111111111111111111111111", "refused"],
  ["invalid_exact_svm_smart_wallet_compute_units_too_high: 5 exceeds max 3", "refused"],
  ["invalid_payload", "refused"],
  ["transaction_failed: invalid_payload", "unknown"],
  ["invalid_payload_", "unknown"],
  ["xinvalid_payload", "unknown"],
  ["INVALID_PAYLOAD", "unknown"],
  [": invalid_payload", "unknown"],
])("%s is %s", (reason, meaning) => {
  expect(settleReasonMeaning(reason)).toBe(meaning);
});
