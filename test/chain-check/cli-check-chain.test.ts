import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonOf, runFarebox } from "../admin/run-farebox.ts";
import { type Auditor, createAuditor, openForBusiness } from "../faults/audit.ts";
import { type RpcProxy, startRpcProxy } from "../faults/rpc-proxy.ts";
import { lastingPort } from "../support/lasting-port.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { alter, dump, FINALITY, settleElsewhere } from "./stand.ts";

let shop: Shop;
let auditor: Auditor;
/** The chain as it will look in ten minutes. */
let later: RpcProxy;
beforeAll(async () => {
  later = await startRpcProxy();
  shop = await openShop();
  later.forwardTo(shop.localnet.rpcUrl);
  later.fail("getSignaturesForAddress", {
    change: (result) =>
      (result as { blockTime: number }[]).map((each) => ({ ...each, blockTime: each.blockTime - 600 })),
  });
  await writeFile(join(shop.dataDir, "farebox.yaml"), shop.configText);
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
  expect(await (await auditor.sell()).send()).toMatchObject({ status: 200 });
  shop.localnet.warp(FINALITY);
});
afterAll(async () => {
  await shop.close();
  await later.close();
});

function check(rpcUrl: string, ...args: readonly string[]) {
  const env = { ...shop.env, RPC_URL: rpcUrl };
  return runFarebox(["check", "--chain", ...args], { cwd: shop.dataDir, env });
}

test("a clean shop, beside the running gateway: 0; the first URL may be dead", async () => {
  // The first transaction made the merchant's token account.
  const report = { ok: true, payments: 1, transactions: 2, differences: [], undecided: [] };
  expect(jsonOf(await check(shop.localnet.rpcUrl, "--json"))).toEqual(report);
  const dead = `http://127.0.0.1:${await lastingPort()}`;
  const people = await check(`${dead},${shop.localnet.rpcUrl}`);
  expect(people).toMatchObject({ code: 0, stderr: "RPC node 1: failing\n" });
  expect(people.stdout).toBe("payments checked      1\ntransactions checked  2\n\nledger and chain agree\n");
});

test("a transfer without a call: 1 until it is credited, once by two runs at once, then 0", async () => {
  const sale = await auditor.sell();
  await settleElsewhere(shop, sale);
  shop.localnet.warp(FINALITY);
  const before = dump(shop);
  const listed = await check(later.url, "--json");
  expect(listed).toMatchObject({ code: 1, stderr: "" });
  const difference = {
    problem: "transfer_without_call",
    payment: sale.id,
    state: null,
    account: sale.account,
    transaction: expect.any(String),
    amount_usd: "0.02",
    amount_micro_usd: "20000",
  };
  expect(JSON.parse(listed.stdout)).toMatchObject({
    ok: false,
    differences: [{ ...difference, credited: false }],
  });
  expect(dump(shop)).toEqual(before);

  const runs = await Promise.all([
    check(later.url, "--credit", "--json"),
    check(later.url, "--credit", "--json"),
  ]);
  expect(runs.map(({ code }) => code)).toEqual([0, 0]);
  expect(await shop.gateway.ledger.balance(sale.account)).toBe(20_000n);
  expect(await shop.gateway.ledger.journal(sale.account)).toHaveLength(1);
  expect(await check(later.url, "--credit")).toMatchObject({ code: 0 });
  expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited" });
});

test("a record that does not fit: 1, as a table", async () => {
  alter(shop, "UPDATE payment SET amount = amount + 1 WHERE state = 'delivered'");
  const { code, stdout } = await check(shop.localnet.rpcUrl);
  alter(shop, "UPDATE payment SET amount = amount - 1 WHERE state = 'delivered'");
  expect(code).toBe(1);
  expect(stdout).toMatch(/^wrong_amount +false +delivered +0\.020001 +wallet:\w+ +[0-9a-f]{64} /m);
});

test("no node answers: 2, and nothing has changed", async () => {
  const sale = await auditor.sell();
  await settleElsewhere(shop, sale);
  shop.localnet.warp(FINALITY);
  const before = dump(shop);
  const [one, two] = [await lastingPort(), await lastingPort()];
  const result = await check(`http://127.0.0.1:${one},http://127.0.0.1:${two}`, "--credit", "--json");
  expect(result).toMatchObject({ code: 2, stdout: "" });
  expect(result.stderr).toContain('{"error":{"code":"not_checked","message":"could not check: ');
  expect(dump(shop)).toEqual(before);
});

test("a node that fails in the middle: 2, and what it did not show is not judged", async () => {
  later.fail("getTransaction", { status: 503, body: "" });
  const before = dump(shop);
  expect(await check(later.url, "--credit")).toMatchObject({ code: 2, stdout: "" });
  expect(dump(shop)).toEqual(before);
});

test("the command line is told what is wrong with it", async () => {
  const run = (...args: readonly string[]) =>
    runFarebox(["check", ...args], { cwd: shop.dataDir, env: shop.env });
  expect(await run("--credit")).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^farebox check: --credit and --since go with --chain\n/),
  });
  expect((await run("--chain", "--since", "yesterday")).stderr).toMatch(
    /^farebox check: since: write a date/,
  );
  const empty = { ...shop.env, FAREBOX_DATA_DIR: join(shop.dataDir, "none") };
  const none = await runFarebox(["check", "--chain"], { cwd: shop.dataDir, env: empty });
  expect(none).toMatchObject({ code: 2 });
  expect(none.stderr).toMatch(/^farebox check: there is no ledger in /);
});
