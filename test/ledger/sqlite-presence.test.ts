import { describe, expect, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { asks, customer, held, purse } from "./customers.ts";
import { useLedgerFile } from "./ledger-file.ts";
import { bring, randomId, request } from "./world.ts";

const file = useLedgerFile();

/** A gateway on the file; `shared` counts how often it was told of another. */
async function serve(): Promise<{ readonly ledger: Ledger; readonly shared: () => number }> {
  let told = 0;
  const onShared = () => {
    told += 1;
  };
  const onFatal = (error: Error) => file.fatal.push(error);
  const ledger = await openSqliteLedger({
    path: file.path,
    network: "local",
    onFatal,
    serving: { onShared },
  });
  return { ledger, shared: () => told };
}

describe("a gateway that starts", () => {
  test("alone ends the leases of who worked before: payments can be taken, holds are free", async () => {
    const before = await file.open();
    const asked = request();
    const fence = await bring(before, asked, "settling");
    const buyer = await customer(before, 100n);
    await held(before, buyer, 60n);
    const operator = await file.open();
    expect(await operator.payment(asked.id)).toMatchObject({ leased: true });

    const { ledger, shared } = await serve();
    expect(shared()).toBe(0);
    expect(await ledger.payment(asked.id)).toMatchObject({ leased: false, state: "settling", fence });
    expect(await ledger.claim({ ...asked, id: randomId() })).toMatchObject({ outcome: "twin" });
    expect(await ledger.hold(asks(buyer, 100n))).toMatchObject({ outcome: "held" });
    expect(await purse(ledger, buyer.account)).toEqual({ balance: 100n, held: 100n });
    await ledger.close();
  });

  test("beside another leaves its leases, and is told; so is a third, when the first has gone", async () => {
    const first = await serve();
    const asked = request();
    await bring(first.ledger, asked, "settling");
    const second = await serve();
    expect(second.shared()).toBe(1);
    expect(await second.ledger.payment(asked.id)).toMatchObject({ leased: true });
    await first.ledger.close();
    const third = await serve();
    expect(third.shared()).toBe(1);
    expect(await third.ledger.payment(asked.id)).toMatchObject({ leased: true });
    await Promise.all([second, third].map(({ ledger }) => ledger.close()));
    const last = await serve();
    expect(last.shared()).toBe(0);
    expect(await last.ledger.payment(asked.id)).toMatchObject({ leased: false });
    await last.ledger.close();
  });

  test("is not kept from it by the operator's commands, and they end no lease", async () => {
    const { ledger } = await serve();
    const asked = request();
    await bring(ledger, asked, "settling");
    const command = await file.open();
    expect(await command.payment(asked.id)).toMatchObject({ leased: true });
    await ledger.close();
    const next = await serve();
    expect(next.shared()).toBe(0);
    await next.ledger.close();
  });
});
