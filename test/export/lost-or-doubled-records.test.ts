import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LedgerFault } from "../../server/ledger/ledger.ts";
import { jsonOf } from "../admin/run-farebox.ts";
import { captures, held } from "../ledger/customers.ts";
import { DAY_MS, exportHere, idsOf, openStand, purseOf, STORES, type Stand, trade } from "./stand.ts";

const KINDS = ["journal", "payments", "usage"] as const;
/** Each command is a process of its own. */
const TIMEOUT_MS = 120_000;
/** What `trade` leaves. */
const COUNTS = { journal: 4, payments: 3, usage: 2 };

describe.each(STORES)("farebox export on %s", { timeout: TIMEOUT_MS }, (store) => {
  let stand: Stand;
  beforeEach(async () => {
    stand = await openStand(store);
  });
  afterEach(() => stand.close());
  const run = (...args: string[]) => stand.farebox("export", "--out", stand.out, ...args);

  test("writes all there is, once; what changed comes again", async () => {
    const { buyer, delivered, credited, settled, fence } = await trade(stand.ledger);
    const first = jsonOf(await run("--json"));
    expect(first).toMatchObject({ exported: COUNTS, trimmed: null });
    expect(stand.files()).toEqual(
      KINDS.map((kind) => expect.stringMatching(`^${kind}-[\\dTZ]+-[\\da-f]{6}\\.jsonl$`)),
    );
    expect(stand.rows("journal")).toContainEqual({
      export_id: expect.stringContaining(`${buyer.account}/hold:`),
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      ...{
        account: buyer.account,
        reference: expect.stringContaining("hold:"),
        kind: "capture",
        key_id: buyer.keyId,
      },
      ...{
        amount_usd: "-0.00003",
        amount_micro_usd: "-30",
        balance_usd: "0.00097",
        balance_micro_usd: "970",
      },
    });
    expect(stand.rows("payments").map(({ id, state }) => [id, state])).toEqual(
      expect.arrayContaining([
        [delivered.id, "delivered"],
        [credited.id, "credited"],
        [settled.id, "settled"],
      ]),
    );
    expect(stand.rows("usage")).toContainEqual(
      expect.objectContaining({ key_label: "=1+1", charged_usd: "0.00002", charged_micro_usd: "20" }),
    );

    expect(await run()).toEqual({ code: 0, stdout: "nothing is new\n", stderr: "" });
    expect(stand.files()).toHaveLength(3);

    await stand.ledger.deliver(settled.id, fence, undefined);
    expect(jsonOf(await run("--json"))).toMatchObject({ exported: { journal: 0, payments: 1, usage: 0 } });
    const written = stand.rows("payments").filter(({ id }) => id === settled.id);
    expect(written.map(({ state }) => state).sort()).toEqual(["delivered", "settled"]);
    expect(new Set(idsOf(written)).size).toBe(2);
  });

  test("trimming changes no balance and no check; what is not finished stays", async () => {
    const { buyer, delivered, credited, settled } = await trade(stand.ledger);
    const open = await held(stand.ledger, buyer, 100n, { leaseMs: 50 * DAY_MS });
    const before = await purseOf(stand.ledger, buyer);
    const check = await stand.farebox("check", "--json");
    expect(JSON.parse(check.stdout)).toMatchObject({ ok: true });

    // Written by this same run, so all of it may go.
    const ran = jsonOf(await run("--trim-older-than", "30d", "--json"));
    const kept = store === "SQLite" ? 1 : 0;
    expect(ran).toMatchObject({ trimmed: { journal: 4, payments: 2, usage: 2 - kept } });
    expect(await stand.farebox("check", "--json")).toEqual(check);
    expect(await purseOf(stand.ledger, buyer)).toEqual(before);
    expect(await stand.ledger.journal(buyer.account)).toEqual([]);
    expect(await stand.ledger.payment(settled.id)).toMatchObject({ state: "settled" });
    for (const { id } of [delivered, credited]) expect(await stand.ledger.payment(id)).toBeUndefined();

    await stand.ledger.capture(captures(open, 60n));
    expect(await stand.ledger.balance(buyer.account)).toBe(890n);
    expect((await stand.farebox("check", "--json")).code).toBe(0);
  });

  test.each(KINDS)(
    "stopped after a file of %s is whole and before its marks: it comes again",
    async (kind) => {
      await trade(stand.ledger);
      const markExported: Stand["ledger"]["markExported"] = (of, marks) =>
        of === kind
          ? Promise.reject(new LedgerFault("The process died here."))
          : stand.ledger.markExported(of, marks);
      await expect(exportHere(stand, { markExported })).rejects.toThrow("died");
      const first = idsOf(stand.rows(kind));
      expect(first.length).toBeGreaterThan(1);
      // Not marked, hence not trimmed.
      expect(await stand.ledger.trimExported(kind, DAY_MS)).toBe(0);
      await exportHere(stand);
      expect(idsOf(stand.rows(kind))).toEqual([...first, ...first].sort());
      for (const other of KINDS) expect(new Set(idsOf(stand.rows(other))).size).toBe(COUNTS[other]);
    },
  );

  test("stopped while a file is written: it is not there, and nothing is lost", async () => {
    await trade(stand.ledger);
    let pages = 0;
    const unexported: Stand["ledger"]["unexported"] = async (kind, after) => {
      const page = await stand.ledger.unexported(kind, after, 1);
      if (page.records.length > 0) pages += 1;
      if (pages === 2) throw new LedgerFault("The store is away.");
      return page;
    };
    await expect(exportHere(stand, { unexported })).rejects.toThrow("away");
    expect(stand.files()).toEqual([]);
    const ping = () => Promise.reject(new LedgerFault("What was read may not be kept."));
    await expect(exportHere(stand, { ping })).rejects.toThrow("kept");
    expect(stand.files()).toEqual([]);
    await exportHere(stand);
    for (const kind of KINDS) expect(stand.rows(kind)).toHaveLength(COUNTS[kind]);
  });

  test("more than a file holds goes into several, each record once", async () => {
    await trade(stand.ledger);
    const unexported: Stand["ledger"]["unexported"] = (kind, after) =>
      stand.ledger.unexported(kind, after, 1);
    await exportHere(stand, { unexported }, 2);
    expect(stand.files().filter((name) => name.startsWith("journal-")).length).toBeGreaterThan(1);
    for (const kind of KINDS) {
      expect(new Set(idsOf(stand.rows(kind))).size).toBe(COUNTS[kind]);
      expect(stand.rows(kind)).toHaveLength(COUNTS[kind]);
    }
    expect((await run()).stdout).toBe("nothing is new\n");
  });

  test("two runs at once, and calls meanwhile: every record is in some file", async () => {
    const { buyer } = await trade(stand.ledger);
    const calls: string[] = [];
    let running = true;
    const spending = async () => {
      while (running) {
        const hold = await held(stand.ledger, buyer, 1n);
        expect(await stand.ledger.capture(captures(hold, 1n))).toMatchObject({ outcome: "captured" });
        calls.push(`${buyer.account}/hold:${hold.id}`);
        await stand.ledger.creditAccount(buyer.account, 1n, hold.id);
      }
    };
    const exporting = async () => {
      const runs = [run("--trim-older-than", "30d", "--json"), run("--trim-older-than", "30d", "--json")];
      const ended = await Promise.all(runs).finally(() => (running = false));
      // A run that takes long says on stderr how far it is.
      expect(ended).toMatchObject([{ code: 0 }, { code: 0 }]);
    };
    await Promise.all([exporting(), spending()]);
    expect(await run("--trim-older-than", "30d", "--json")).toMatchObject({ code: 0 });
    expect(calls.length).toBeGreaterThan(0);
    const written = new Set(idsOf(stand.rows("journal")));
    expect(calls.filter((id) => !written.has(id))).toEqual([]);
    expect(await stand.ledger.balance(buyer.account)).toBe(950n);
    expect(await stand.ledger.journal(buyer.account)).toEqual([]);
    expect((await stand.farebox("check", "--json")).code).toBe(0);
    expect(stand.files().filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("a disk that cannot be written: exit code 1, and the records come later", async () => {
    await trade(stand.ledger);
    writeFileSync(stand.out, "a file, not a directory");
    expect(await run("--json")).toMatchObject({ code: 1, stdout: "" });
    const elsewhere = await stand.farebox("export", "--out", `${stand.out}-2`, "--json");
    expect(jsonOf(elsewhere)).toMatchObject({ exported: COUNTS });
  });
});
