import type Database from "better-sqlite3";
import { createCredit } from "./sqlite-accounts.ts";
import { createFreeing } from "./sqlite-holds.ts";
import type { Handlers } from "./sqlite-messages.ts";
import { createUsageWriter } from "./sqlite-usage.ts";

/** The step that undoes the end of a call which nobody was served. */
export function createRefunds(db: Database.Database): Pick<Handlers, "refund"> {
  const free = createFreeing(db);
  const credit = createCredit(db);
  const writeUsage = createUsageWriter(db);
  const ended = db
    .prepare<[string], string>("SELECT CAST(charged AS TEXT) FROM usage WHERE hold = ?")
    .pluck();
  const answer = db
    .prepare<[string, number], number>("SELECT 1 FROM idempotent_call WHERE hold = ? AND sealed_until > ?")
    .pluck();
  const giveToKey = db.prepare<[bigint, bigint, string]>(
    "UPDATE api_key SET usage = usage - ?, spent = max(spent - ?, 0) WHERE id = ?",
  );
  const forget = db.prepare<[string]>("DELETE FROM idempotent_call WHERE hold = ?");

  return {
    refund(now, { id, account, keyId, usage }) {
      const freed = free(id);
      const charged = ended.get(id);
      if (freed || charged === undefined) {
        writeUsage(now, id, usage, 0n, 0n);
        return "freed";
      }
      if (answer.get(id, now) !== undefined) return "answered";
      forget.run(id);
      const amount = BigInt(charged);
      if (amount === 0n) return "freed";
      const { outcome } = credit(now, { account, amount, reference: `refund:${id}`, kind: "credit", keyId });
      if (outcome === "credited" && keyId !== undefined) giveToKey.run(amount, amount, keyId);
      return "refunded";
    },
  };
}
