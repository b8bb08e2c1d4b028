import { afterAll, beforeAll, expect, test } from "vitest";
import { usageCsv } from "../../server/admin/usage-csv.ts";
import type { UsageFilter, UsageRecord } from "../../server/ledger/call-ledger.ts";
import { type AdminWorld, openAdminWorld, usageFacts } from "./admin-world.ts";

let world: AdminWorld;
beforeAll(async () => {
  world = await openAdminWorld();
  const { ledger } = world;
  await ledger.createAccount("acme", "Acme");
  for (const [index, keyLabel] of ["plain", "=1+1", "+1", "-1", "@SUM(A1)", '\tx,"y"', " =1"].entries()) {
    await ledger.recordUsage(usageFacts({ account: "acme", keyId: `key_${index}`, keyLabel }), BigInt(index));
  }
  const free = { account: "other", notCharged: "upstream_failed", status: 502, upstreamCost: 1_234_567n };
  await ledger.recordUsage(usageFacts(free), 0n);
});
afterAll(() => world.close());

test("usage comes newest first, by account and key, in exact amounts", async () => {
  const { json } = await world.call("GET", "/admin/usage?account=other");
  expect(json).toEqual({
    usage: [
      expect.objectContaining({
        account: "other",
        charged_usd: "0.00",
        charged_micro_usd: "0",
        held_usd: "0.00001",
        upstream_cost_usd: "1.234567",
        status: 502,
        not_charged: "upstream_failed",
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      }),
    ],
    next_before: null,
  });
  const one = await world.call("GET", "/admin/usage?key=key_3");
  expect(one.json["usage"]).toEqual([expect.objectContaining({ key_id: "key_3", charged_usd: "0.000003" })]);
});

test("nothing spent and nobody of this id are two answers, as JSON and as CSV", async () => {
  const { ledger } = world;
  await ledger.createAccount("fresh", "Fresh");
  const made = await world.call("POST", "/admin/keys", { account: "fresh" });
  const key = String(made.json["id"]);
  for (const [query, status, code] of [
    [`key=${key}`, 200, undefined],
    [`key=${key}&account=fresh`, 200, undefined],
    ["account=fresh", 200, undefined],
    ["account=wallet:somebody", 200, undefined],
    ["key=key_typo", 404, "key_not_found"],
    [`key=${key}&account=acme`, 404, "key_not_found"],
    ["account=acct_typo", 404, "account_not_found"],
  ] as const) {
    for (const format of ["json", "csv"]) {
      const answer = await world.call("GET", `/admin/usage?${query}&format=${format}`);
      expect([query, format, answer.status]).toEqual([query, format, status]);
      if (code !== undefined) expect(answer.json).toMatchObject({ error: { code } });
    }
  }
});

test("pages follow one another without gap or overlap", async () => {
  const seen: unknown[] = [];
  let before: unknown = null;
  do {
    const more = before === null ? "" : `&before=${String(before)}`;
    const { json } = await world.call("GET", `/admin/usage?limit=3${more}`);
    const page = json["usage"] as { id: number }[];
    seen.push(...page.map(({ id }) => id));
    before = json["next_before"];
  } while (before !== null);
  expect(seen).toHaveLength(8);
  expect(seen).toEqual([...new Set(seen)].sort((a, b) => Number(b) - Number(a)));
});

test("since leaves out what is older; what is no time is refused", async () => {
  expect((await world.call("GET", "/admin/usage?since=1h")).json["usage"]).toHaveLength(8);
  expect((await world.call("GET", "/admin/usage?since=2999-01-01")).json["usage"]).toEqual([]);
  for (const query of [
    "since=yesterday",
    "limit=1001",
    "limit=0",
    "colour=red",
    "format=xml",
    "key=a&key=b",
  ]) {
    expect([query, (await world.call("GET", `/admin/usage?${query}`)).status]).toEqual([query, 400]);
  }
});

test("a label that a spreadsheet would run is defused in the CSV", async () => {
  const asked = await world.call("GET", "/admin/usage?format=csv&account=acme");
  const accepted = await world.call("GET", "/admin/usage?account=acme", undefined, { accept: "text/csv" });
  expect(accepted.text).toBe(asked.text);
  expect(asked.headers.get("content-type")).toMatch(/^text\/csv/);
  const [head, ...rows] = asked.text.trimEnd().split("\r\n");
  expect(head).toMatch(/^id,at,tier,account,key_id,key_label,/);
  expect(rows).toHaveLength(7);
  for (const label of ["'=1+1", "'+1", "'-1", "'@SUM(A1)", '"\'\tx,""y"""', "' =1", "plain"]) {
    expect(rows.filter((row) => row.includes(`,${label},`))).toHaveLength(1);
  }
  expect(asked.text).not.toMatch(/,[=+@-]/);
});

/** A ledger's answers without the ledger: 2,500 records, newest first. */
function many(pages: number[]): (filter: UsageFilter) => Promise<readonly UsageRecord[]> {
  return async ({ before = 2_501, limit }) => {
    pages.push(limit);
    const length = Math.min(limit, before - 1);
    return Array.from({ length }, (_, index) => ({
      ...usageFacts({}),
      id: before - 1 - index,
      at: 0,
      charged: 1n,
    }));
  };
}

test.each([
  [undefined, 2_500, [1_000, 1_000, 1_000]],
  [1_200, 1_200, [1_000, 200]],
  [2_000, 2_000, [1_000, 1_000]],
])("a CSV of at most %s records has %i, page by page", async (limit, count, asked) => {
  const pages: number[] = [];
  let text = "";
  for await (const chunk of usageCsv(many(pages), { limit })) text += chunk;
  const ids = text
    .trimEnd()
    .split("\r\n")
    .slice(1)
    .map((row) => Number(row.split(",")[0]));
  expect(ids).toEqual(Array.from({ length: count }, (_, index) => 2_500 - index));
  expect(pages).toEqual(asked);
});
