import type * as Sqlite from "../../server/ledger/sqlite.ts";
import { claimed, LEASE_MS, request } from "./world.ts";

/** Pays without end, and prints each payment's id once it is durably settled. Ended by a signal that it cannot catch. */
async function main(build: string, path: string): Promise<void> {
  const { openSqliteLedger }: typeof Sqlite = await import(build);
  const onFatal = (error: Error) => {
    throw error;
  };
  const ledger = await openSqliteLedger({ path, network: "local", onFatal });
  const payEndlessly = async () => {
    for (;;) {
      const asked = request();
      const fence = await claimed(ledger, asked);
      await ledger.beginSettle(asked.id, fence, LEASE_MS);
      await ledger.settled(asked.id, fence, `tx-${asked.id}`, undefined);
      process.stdout.write(`${asked.id}\n`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, payEndlessly));
}

await main(process.argv[2] ?? "", process.argv[3] ?? "");
