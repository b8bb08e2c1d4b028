import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { ledgerContract } from "./contract.ts";

const directory = mkdtempSync(join(tmpdir(), "farebox-ledger-"));
afterAll(() => rmSync(directory, { recursive: true }));
let count = 0;

ledgerContract("SQLite ledger", (clock) => {
  count += 1;
  const path = join(directory, `${count}.db`);
  const onFatal = (error: Error) => {
    throw error;
  };
  return openSqliteLedger({ path, network: "local", clock, onFatal });
});
