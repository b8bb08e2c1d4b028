import { describe, expect, test } from "vitest";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import { asks, captures, customer, held, keyOf, purse, secret, spend } from "./customers.ts";
import { useLedgerFile } from "./ledger-file.ts";

const file = useLedgerFile();

/** Two connections with a worker each, as two processes have them: the server, and the CLI or a second server. */
async function openTwo() {
  const server = await file.open();
  return { server, other: await file.open() };
}

describe("two processes on one ledger", () => {
  test("a revocation by one holds for the next request at the other", async () => {
    const { server, other } = await openTwo();
    const buyer = await customer(other, 1_000n);
    await spend(server, buyer, 10n);
    await other.revokeKey(buyer.keyId);
    expect(await server.hold(asks(buyer, 10n))).toEqual({ outcome: "revoked" });
  });

  test("a rotation, a new limit and a credit are seen at once, too", async () => {
    const { server, other } = await openTwo();
    const buyer = await customer(other, 100n);
    await held(server, buyer, 100n);
    await other.creditAccount(buyer.account, 60n, "second");
    await held(server, buyer, 50n);
    await other.changeKey(buyer.keyId, { limit: 0n });
    expect((await server.hold(asks(buyer, 1n))).outcome).toBe("key_limit_reached");
    const next = secret();
    keyOf(await other.rotateKey(buyer.keyId, next, 0, undefined));
    expect(await server.hold(asks(buyer, 0n))).toEqual({ outcome: "unknown" });
    await held(server, { hash: next.hash }, 0n);
  });

  test("concurrent holds of both never exceed the balance, and each capture counts once", async () => {
    const { server, other } = await openTwo();
    const buyer = await customer(server, 1_000n, { limit: 900n });
    const both = [server, other];
    const outcomes = await Promise.all(
      Array.from({ length: 120 }, async (_, n) => {
        const ledger = both[n % 2] ?? server;
        const outcome = await ledger.hold(asks(buyer, 30n));
        if (outcome.outcome !== "held") return outcome.outcome;
        const request = captures(outcome.hold, 30n);
        await Promise.all(both.map((each) => each.capture(request)));
        return "held";
      }),
    );
    expect(outcomes.filter((outcome) => outcome === "held")).toHaveLength(30);
    expect(await purse(other, buyer.account)).toEqual({ balance: 100n, held: 0n });
    expect(await server.journal(buyer.account)).toHaveLength(31);
    expect(await server.checkAccounts()).toEqual([]);
  });

  test("a read waits for no writer, and keeps none waiting", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000n);
    const other = openLasting(file.path);
    other.exec("BEGIN IMMEDIATE");
    expect(await ledger.checkAccounts()).toEqual([]);
    expect(await ledger.balance(buyer.account)).toBe(1_000n);
    expect(await ledger.keyBySecret(buyer.hash)).toMatchObject({ account: { balance: 1_000n } });
    other.exec("ROLLBACK");
    other.exec("BEGIN");
    other.prepare("SELECT count(*) FROM journal").get();
    await spend(ledger, buyer, 10n);
    other.exec("COMMIT");
    other.close();
    expect(await ledger.balance(buyer.account)).toBe(990n);
  });
});
