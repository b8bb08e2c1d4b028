import type Database from "better-sqlite3";
import type { Discrepancy } from "./account-ledger.ts";
import type { Handlers } from "./sqlite-messages.ts";

interface Row {
  readonly account: string;
  readonly key: string | null;
  readonly problem: Discrepancy["problem"];
  readonly recorded: string;
  readonly computed: string;
}

/**
 * Recomputes what is kept as a sum: balances from the journal, what is held from the holds, usage from the journal. What was
 * trimmed of the journal counts with the sum it left.
 */
export function createCheck(db: Database.Database): Pick<Handlers, "checkAccounts"> {
  const find = db.prepare<[], Row>(`
    WITH journal_sum AS (SELECT account, sum(amount) AS total FROM journal GROUP BY account),
      hold_sum AS (SELECT account, sum(amount) AS total FROM hold GROUP BY account),
      key_hold AS (SELECT key, sum(amount) AS total FROM hold WHERE key IS NOT NULL GROUP BY key),
      key_usage AS (SELECT key, -sum(amount) AS total FROM journal WHERE key IS NOT NULL GROUP BY key),
      found (account, key, problem, recorded, computed) AS (
        SELECT id, NULL, 'balance_is_not_its_journal', balance, trimmed + coalesce(total, 0)
          FROM account LEFT JOIN journal_sum ON journal_sum.account = id
        UNION ALL SELECT id, NULL, 'held_is_not_its_holds', held, coalesce(total, 0)
          FROM account LEFT JOIN hold_sum ON hold_sum.account = id
        UNION ALL SELECT k.account, k.id, 'held_is_not_its_holds', k.held, coalesce(total, 0)
          FROM api_key k LEFT JOIN key_hold ON key_hold.key = k.id
        UNION ALL SELECT k.account, k.id, 'usage_is_not_its_journal', k.usage, k.trimmed + coalesce(total, 0)
          FROM api_key k LEFT JOIN key_usage ON key_usage.key = k.id
      )
    SELECT account, key, problem, CAST(recorded AS TEXT) AS recorded, CAST(computed AS TEXT) AS computed
      FROM found WHERE recorded <> computed
    UNION ALL SELECT id, NULL, 'held_exceeds_balance', CAST(held AS TEXT), CAST(balance AS TEXT)
      FROM account WHERE held > balance`);
  return {
    checkAccounts: () =>
      find.all().map(({ account, key, problem, recorded, computed }) => ({
        account,
        keyId: key ?? undefined,
        problem,
        recorded: BigInt(recorded),
        computed: BigInt(computed),
      })),
  };
}
