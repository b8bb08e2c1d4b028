import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { withFewSearches } from "../../server/account/few-searches.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";

const directory = mkdtempSync(join(tmpdir(), "farebox-searches-"));
let ledger: Ledger;
beforeAll(async () => {
  const onFatal = (error: Error) => {
    throw error;
  };
  ledger = await openSqliteLedger({ path: join(directory, "ledger.db"), network: "solana:test", onFatal });
  await ledger.createAccount("a", "");
});
afterAll(async () => {
  await ledger.close();
  rmSync(directory, { recursive: true });
});

/** The ledger, whose searches begin and then wait to be let go. */
function slowed() {
  const begun: (() => void)[] = [];
  const slowly =
    <Args extends unknown[], Found>(search: (...args: Args) => Promise<Found>) =>
    async (...args: Args): Promise<Found> => {
      await new Promise<void>((resolve) => begun.push(resolve));
      return search(...args);
    };
  const slow: Ledger = {
    ...ledger,
    usage: slowly(ledger.usage),
    journalPage: slowly(ledger.journalPage),
    paidInPage: slowly(ledger.paidInPage),
  };
  return { slow, begun };
}

test("so many searches are under way at a time, whatever they look for; the next begins when one ends", async () => {
  const { slow, begun } = slowed();
  const few = withFewSearches(slow, { atOnce: 2, mostWaiting: 2 });
  const asked = [
    few.usage({ account: "a", limit: 1 }),
    few.journalPage("a", undefined, 1),
    few.paidInPage("a", undefined, 1),
    few.usage({ account: "a", limit: 1 }),
  ];
  await expect.poll(() => begun.length).toBe(2);
  // What a call needs waits for none of them.
  expect((await few.account("a"))?.id).toBe("a");
  await expect(few.usage({ account: "a", limit: 1 })).rejects.toMatchObject({
    code: "rate_limit_exceeded",
    headers: { "Retry-After": "2" },
  });
  for (let index = 0; index < asked.length; index += 1) {
    await expect.poll(() => begun.length).toBeGreaterThan(index);
    expect(begun.length).toBeLessThanOrEqual(index + 2);
    begun[index]?.();
    await Promise.race(asked.slice(index));
  }
  await Promise.all(asked);
  expect(begun.length).toBe(4);
});

test("a search that fails leaves its place", async () => {
  const few = withFewSearches(
    { ...ledger, usage: () => Promise.reject(new Error("broken")) },
    { atOnce: 1, mostWaiting: 0 },
  );
  await expect(few.usage({ account: "a", limit: 1 })).rejects.toThrow("broken");
  expect((await few.journalPage("a", undefined, 1)).entries).toEqual([]);
});
