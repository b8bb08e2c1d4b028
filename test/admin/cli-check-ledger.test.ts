import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import { ONE_MODEL, SOLANA_ENV } from "../config/settings.ts";
import { type AdminWorld, adminEnv, openAdminWorld } from "./admin-world.ts";
import { jsonOf, runFarebox } from "./run-farebox.ts";

let world: AdminWorld;
beforeAll(async () => {
  world = await openAdminWorld();
  await world.ledger.createAccount("acme", "Acme");
  await world.ledger.creditAccount("acme", 5_000_000n, "invoice-1");
});
afterAll(() => world.close());

function check(...args: string[]) {
  return runFarebox(["check", ...args], { cwd: world.dataDir, env: adminEnv(world.dataDir) });
}

test("check recomputes the ledger's sums, and says which differ", async () => {
  expect(jsonOf(await check("--json"))).toMatchObject({ ok: true, network: "local", discrepancies: [] });
  const people = await check();
  expect(people).toMatchObject({ code: 0, stderr: "" });
  expect(people.stdout).toMatch(/ledger +adds up\n$/);

  const db = openLasting(join(world.dataDir, "ledger.sqlite"));
  db.prepare("UPDATE account SET balance = balance + 1 WHERE id = 'acme'").run();
  db.close();

  const wrong = await check("--json");
  expect(wrong.code).toBe(1);
  expect(JSON.parse(wrong.stdout)).toMatchObject({
    ok: false,
    discrepancies: [
      {
        account: "acme",
        problem: "balance_is_not_its_journal",
        recorded_micro_usd: "5000001",
        computed_micro_usd: "5000000",
      },
    ],
  });
  const told = await check();
  expect(told.code).toBe(1);
  expect(told.stdout).toMatch(/acme +- +balance_is_not_its_journal +5\.000001 +5\.00/);
  const api = await world.call("GET", "/admin/check");
  expect(api.json).toMatchObject({ ok: false, discrepancies: [{ account: "acme" }] });
  expect(await check("--config")).toMatchObject({ code: 0, stderr: "" });
});

test("a ledger of another network is refused", async () => {
  await writeFile(join(world.dataDir, "farebox.yaml"), ONE_MODEL);
  const env = { ...adminEnv(world.dataDir), ...SOLANA_ENV };
  const result = await runFarebox(["accounts", "list"], { cwd: world.dataDir, env });
  expect(result).toMatchObject({ code: 1, stdout: "" });
  expect(result.stderr).toMatch(/^farebox: .*network/i);
});
