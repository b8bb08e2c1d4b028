import { z } from "zod";
import { type Ledger, LedgerFault, type Step, type TransferCredit, type Verdict } from "./ledger.ts";
import { onShardOf, type RedisStore } from "./redis-store.ts";
import { storedAssetAmount } from "./stored-payment.ts";

const step = z.enum(["ok", "lost"]);
const crediting = z.enum(["credited", "repeated", "recorded"]);
/** Who is to be credited before the record can be: account, amount, the fence that holds the record, and the entry's kind. */
const elsewhere = z.tuple([z.string(), z.string(), z.string(), z.string()]);
const creditReply = z.union([step, elsewhere]);
const transferReply = z.union([crediting, elsewhere]);
const accountReply = z.tuple([z.enum(["credited", "repeated", "conflict", "not_found"]), z.string()]);
/** How long a record that is being credited is left to whoever began. */
const LEASE_MS = 15_000;

/**
 * What ends a payment as a credit. The payer's wallet account is in the record's own shard: one script. A beneficiary's account
 * may be in another, so the record is settled first, which is final; then the account is credited, once for each payment; then the
 * record is. A crash in between leaves it settled, and whoever credits it next repeats the second part to no effect.
 */
export function createRedisCredits(store: RedisStore): Pick<Ledger, "credit" | "decide" | "creditTransfer"> {
  const { link, shards, payments } = store;

  async function creditAccount(
    id: string,
    account: string,
    amount: string,
    kind: string,
  ): Promise<"new" | "paid" | "gone"> {
    const words = [account, amount, `payment:${id}`, kind];
    const [outcome] = accountReply.parse(
      await link.run("credit-beneficiary", shards.ofAccount(account), ...words),
    );
    if (outcome === "not_found") return "gone";
    return outcome === "credited" ? "new" : "paid";
  }

  async function finish(
    shard: number,
    id: string,
    reason: string,
    [account, amount, fence, kind]: z.infer<typeof elsewhere>,
  ): Promise<{ readonly step: Step; readonly isNew: boolean }> {
    const paid = await creditAccount(id, account, amount, kind);
    const reply = await link.run("credit", shard, id, fence, reason, paid === "gone" ? "gone" : "paid");
    return { step: step.parse(reply), isNew: paid !== "paid" };
  }

  return {
    credit: (id, fence, reason) =>
      onShardOf<Step>(payments, id, "lost", async (shard) => {
        const reply = creditReply.parse(await link.run("credit", shard, id, fence, reason, ""));
        return typeof reply === "string" ? reply : (await finish(shard, id, reason, reply)).step;
      }),
    decide: (id, fence, verdict, strikeMs) =>
      onShardOf<Step>(payments, id, "lost", async (shard) => {
        const reply = creditReply.parse(
          await link.run("decide", shard, id, fence, ...verdictArguments(verdict), strikeMs),
        );
        return typeof reply === "string" ? reply : (await finish(shard, id, "", reply)).step;
      }),
    async creditTransfer(transfer): Promise<TransferCredit> {
      if (transfer.amount <= 0n) throw new LedgerFault("A credit must be more than nothing.");
      const { id, payer, amount, asset, payTo, network, memo, feePayer, transaction, reason } = transfer;
      const shard = shards.ofPayer(payer);
      payments.remember(id, shard);
      const words = [id, payer, String(amount), asset, payTo, network, memo, feePayer, transaction, reason];
      const stored = storedAssetAmount(transfer) ?? "";
      const reply = transferReply.parse(await link.run("credit-transfer", shard, ...words, LEASE_MS, stored));
      if (typeof reply === "string") return reply;
      return (await finish(shard, id, "", reply)).isNew ? "credited" : "repeated";
    },
  };
}

function verdictArguments(verdict: Verdict): readonly string[] {
  switch (verdict.verdict) {
    case "settled":
      return ["settled", verdict.transaction, ""];
    case "absent":
    case "undecided":
      return [verdict.verdict, "", verdict.reason];
  }
}
