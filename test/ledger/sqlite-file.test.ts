import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { MIGRATIONS } from "../../server/ledger/sqlite-migrations.ts";
import { built } from "../support/built.ts";
import { customer, secret } from "./customers.ts";
import { useLedgerFile } from "./ledger-file.ts";
import { bring, claimed, keep, LEASE_MS, request, STANDS, said } from "./world.ts";

const run = promisify(execFile);
const file = useLedgerFile();

describe("a file that is not this ledger", () => {
  test("of another network is refused, and serves its own afterwards", async () => {
    const asked = request();
    const ledger = await file.open("local");
    await claimed(ledger, asked);
    await ledger.close();
    const mainnet = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
    await expect(file.open(mainnet)).rejects.toThrow(
      `made for the network local and refuses to serve ${mainnet}`,
    );
    expect(await (await file.open("local")).payment(asked.id)).toMatchObject({ state: "open" });
    expect(file.fatal).toEqual([]);
  });

  test("made by a newer version is refused", async () => {
    await (await file.open()).close();
    file.meddle("PRAGMA user_version = 999");
    await expect(file.open()).rejects.toThrow(
      `made by a newer Farebox (schema 999, known ${MIGRATIONS.length}). Run that one, or restore a copy made before it.`,
    );
  });

  test.each(["", "PRAGMA user_version = 1;"])("some other SQLite database (%s) is refused", async (sql) => {
    file.path = join(file.directory, "other.db");
    file.meddle(`CREATE TABLE diary (page TEXT); ${sql}`);
    const before = readFileSync(file.path);
    await expect(file.open()).rejects.toThrow("not a Farebox ledger");
    expect(readFileSync(file.path)).toEqual(before);
  });

  test("no database, or a place where none can be, is refused", async () => {
    writeFileSync(join(file.directory, "text"), "This is not a database, it is a line of text.".repeat(100));
    file.path = join(file.directory, "text");
    await expect(file.open()).rejects.toThrow("is no database");
    file.path = join(file.directory, "text", "ledger.db");
    await expect(file.open()).rejects.toThrow();
    expect(file.fatal).toEqual([]);
  });
});

describe("what is kept", () => {
  test("everything survives a close and a reopening", async () => {
    const first = await file.open();
    const asked = STANDS.map((stand) => ({ stand, request: request() }));
    for (const each of asked) await bring(first, each.request, each.stand);
    const answered = request();
    const fence = await bring(first, answered, "settled");
    await first.deliver(answered.id, fence, keep("hello"));
    const state = (ledger: Ledger) =>
      Promise.all(
        asked.map(async ({ request: { id, payer } }) => [
          await ledger.payment(id),
          await ledger.journal(`wallet:${payer}`),
          await ledger.balance(`wallet:${payer}`),
        ]),
      );
    const before = await state(first);
    await first.close();
    expect(existsSync(`${file.path}-wal`)).toBe(false);
    const second = await file.open();
    expect(await state(second)).toEqual(before);
    expect(said(await second.claim(answered))).toBe("hello");
  });

  test("kill -9: what was reported as settled is settled", async () => {
    const crash = fileURLToPath(new URL("./crash-child.ts", import.meta.url));
    const words = ["--import", "tsx", crash, built("server/ledger/sqlite.js"), file.path];
    const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => {
      child.kill("SIGKILL");
    });
    const exited = once(child, "exit");
    const ids: string[] = [];
    for await (const id of createInterface(child.stdout)) {
      ids.push(id);
      if (ids.length === 300) child.kill("SIGKILL");
    }
    expect(await exited).toEqual([null, "SIGKILL"]);
    expect(ids.length).toBeGreaterThanOrEqual(300);
    const ledger = await file.open();
    for (const id of ids) {
      expect(await ledger.payment(id)).toMatchObject({ state: "settled", transaction: `tx-${id}` });
    }
  });

  test("a program that is a text, not a file, can open it", async () => {
    const module = JSON.stringify(built("server/ledger/sqlite.js"));
    const options = JSON.stringify({ path: file.path, network: "local" });
    const text = `
      const { openSqliteLedger } = await import(${module});
      const ledger = await openSqliteLedger(${options});
      console.log(await ledger.balance("wallet:nobody"));
      await ledger.close();`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", text]);
    expect(stdout).toBe("0n\n");
  });

  test("what the journal has is not credited again, even if the record was lost and came back", async () => {
    const ledger = await file.open();
    const asked = request();
    await bring(ledger, asked, "credited");
    file.meddle("DELETE FROM payment");
    await bring(ledger, asked, "credited");
    expect(await ledger.balance(`wallet:${asked.payer}`)).toBe(asked.amount);
    expect(await ledger.journal(`wallet:${asked.payer}`)).toHaveLength(1);
  });

  test("of a key that is rotated again and again only the secrets that still open it stay", async () => {
    let now = 1_700_000_000_000;
    const ledger = await file.openAt(() => now);
    const buyer = await customer(ledger, 1_000n);
    for (let rotation = 0; rotation < 20; rotation += 1) {
      await ledger.rotateKey(buyer.keyId, secret(), rotation === 19 ? 60_000 : 0, undefined);
      now += 1;
    }
    // The newest, and the one before it, which is valid for a minute more.
    expect(file.read("SELECT count(*) FROM key_secret")).toBe(2);
  });

  test("close lets what is under way finish", async () => {
    const ledger = await file.open();
    const asked = request();
    const fence = await claimed(ledger, asked);
    const step = ledger.beginSettle(asked.id, fence, LEASE_MS);
    await Promise.all([ledger.close(), ledger.close()]);
    expect(await step).toBe("ok");
    expect(await (await file.open()).payment(asked.id)).toMatchObject({ state: "settling" });
  });
});
