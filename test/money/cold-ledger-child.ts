import { randomBytes } from "node:crypto";
import type * as Sqlite from "../../server/ledger/sqlite.ts";
import { COLD_ACCOUNT, COLD_BUDGET, COLD_CALL, holdFor } from "./cold-ledger.ts";

/** Opens a ledger that may not be there yet, gives the account its budget as every process does, and spends what it can. */
async function main(build: string, path: string): Promise<void> {
  const { openSqliteLedger }: typeof Sqlite = await import(build);
  const onFatal = (error: Error) => {
    throw error;
  };
  const ledger = await openSqliteLedger({ path, network: "local", onFatal });
  await ledger.createAccount(COLD_ACCOUNT, "Cold");
  await ledger.creditAccount(COLD_ACCOUNT, COLD_BUDGET, "opening");
  const calls = Array.from({ length: 25 }, () =>
    ledger.hold(holdFor(randomBytes(16).toString("hex"), COLD_CALL)),
  );
  const admitted = (await Promise.all(calls)).filter(({ outcome }) => outcome === "held");
  await ledger.close();
  process.stdout.write(`admitted ${admitted.length}\n`);
}

await main(process.argv[2] ?? "", process.argv[3] ?? "");
