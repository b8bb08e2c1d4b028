import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { built } from "../support/built.ts";
import { clocksContract } from "./contract-clocks.ts";
import { anotherKey, asks, type Customer, captures, customer, purse } from "./customers.ts";
import { useLedgerFile } from "./ledger-file.ts";

const file = useLedgerFile();
const IN_FLIGHT = 8;

/**
 * A gateway of its own: waits for a line, then makes calls until none is admitted, each by its own hold and capture.
 * Prints `ready`; one line for each capture; at the end the outcomes that were no hold.
 */
const GATEWAY = `
  import { once } from "node:events";
  import { asks, captures } from ${JSON.stringify(new URL("./customers.ts", import.meta.url).href)};
  const [build, path, hash, amount] = process.argv.slice(1);
  const { openSqliteLedger } = await import(build);
  const onFatal = (error) => { throw error; };
  const ledger = await openSqliteLedger({ path, network: "local", onFatal });
  console.log("ready");
  await once(process.stdin, "data");
  async function call() {
    for (;;) {
      const answer = await ledger.hold(asks({ hash }, BigInt(amount)));
      if (answer.outcome !== "held") return answer.outcome;
      const result = await ledger.capture(captures(answer.hold, BigInt(amount)));
      console.log("charged " + answer.hold.id + " " + result.charged);
    }
  }
  const ends = await Promise.all(Array.from({ length: ${IN_FLIGHT} }, call));
  console.log("ended " + [...new Set(ends)].join());
  await ledger.close();
  process.exit(0);
`;

interface Gateway {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  /** Ids of captures it was told of. */
  readonly charged: string[];
  readonly exited: Promise<unknown[]>;
  /** What it said at its end. */
  ended(): string;
  start(): void;
}

/** Resolves when its ledger is open. `onCharge` is told of each capture. */
async function startGateway(
  { hash }: Customer,
  amount: bigint,
  onCharge: (count: number) => void = () => {},
): Promise<Gateway> {
  const words = [built("server/ledger/sqlite.js"), file.path, hash, String(amount)];
  const args = ["--import", "tsx", "-e", GATEWAY, ...words];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const exited = once(child, "close");
  const charged: string[] = [];
  let end = "";
  const ready = new Promise<void>((resolve, reject) => {
    createInterface(child.stdout).on("line", (line) => {
      const [word, rest = ""] = line.split(" ");
      if (word === "ready") resolve();
      if (word === "charged") onCharge(charged.push(rest));
      if (word === "ended") end = rest;
    });
    child.once("exit", () => reject(new Error("The gateway ended before it was ready.")));
  });
  await ready;
  const start = () => {
    child.stdin.write("go\n");
  };
  return { child, charged, exited, ended: () => end, start };
}

async function debits(ledger: Ledger, { account }: Customer): Promise<readonly string[]> {
  const entries = await ledger.journal(account);
  return entries.filter(({ kind }) => kind === "capture").map(({ reference }) => reference.slice(5));
}

describe("two processes that serve from one file", () => {
  test("spend the balance to its end together: no call too many, none twice, none lost", async () => {
    const ledger = await file.open();
    const one = await customer(ledger, 40_000n + 9n);
    const two = await anotherKey(ledger, one.account);
    const gateways = await Promise.all([startGateway(one, 10n), startGateway(two, 10n)]);
    for (const gateway of gateways) gateway.start();
    await Promise.all(gateways.map(({ exited }) => exited));
    expect(gateways.map((gateway) => gateway.ended())).toEqual([
      "insufficient_credits",
      "insufficient_credits",
    ]);
    // Both served, or the test is none.
    for (const { charged } of gateways) expect(charged.length).toBeGreaterThan(20);
    const told = gateways.flatMap(({ charged }) => charged);
    expect([...(await debits(ledger, one))].sort()).toEqual(told.sort());
    expect(told).toHaveLength(4_000);
    expect(await purse(ledger, one.account)).toEqual({ balance: 9n, held: 0n });
    const used = await Promise.all([one, two].map(({ keyId }) => ledger.key(keyId)));
    expect(used.reduce((total, key) => total + (key?.usage ?? 0n), 0n)).toBe(40_000n);
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("a key's limit is one limit, however many serve it", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000_000n, { limit: 1_005n });
    const gateways = await Promise.all([startGateway(buyer, 10n), startGateway(buyer, 10n)]);
    for (const gateway of gateways) gateway.start();
    await Promise.all(gateways.map(({ exited }) => exited));
    expect(gateways.map((gateway) => gateway.ended())).toEqual(["key_limit_reached", "key_limit_reached"]);
    expect(gateways.flatMap(({ charged }) => charged)).toHaveLength(100);
    expect(await ledger.key(buyer.keyId)).toMatchObject({ spent: 1_000n, held: 0n, limitRemaining: 5n });
    expect(await ledger.checkAccounts()).toEqual([]);
  });

  test("a revocation ends the other's calls: what it began is charged, nothing after", async () => {
    const ledger = await file.open();
    const buyer = await customer(ledger, 1_000_000_000n);
    let revoked: Promise<readonly string[]> | undefined;
    const gateway = await startGateway(buyer, 1n, (count) => {
      if (count !== 50) return;
      revoked = ledger.revokeKey(buyer.keyId).then(() => debits(ledger, buyer));
    });
    gateway.start();
    await gateway.exited;
    expect(gateway.ended()).toBe("revoked");
    const before = await revoked;
    const all = await debits(ledger, buyer);
    expect([...all].sort()).toEqual(gateway.charged.toSorted());
    // Only calls that were running could still be captured.
    expect(all.length - (before?.length ?? 0)).toBeLessThanOrEqual(IN_FLIGHT);
    expect(await purse(ledger, buyer.account)).toMatchObject({ held: 0n });
  });

  test("kill -9 of one: what it was told is charged, its holds end, the other goes on", async () => {
    let late = 0;
    const ledger = await file.openAt(() => Date.now() + late);
    const buyer = await customer(ledger, 1_000_000_000n);
    const gateway = await startGateway(buyer, 1n, (count) => {
      if (count === 100) gateway.child.kill("SIGKILL");
    });
    gateway.start();
    expect(await gateway.exited).toEqual([null, "SIGKILL"]);
    const charged = await debits(ledger, buyer);
    expect(charged).toEqual(expect.arrayContaining(gateway.charged));
    expect(charged.length - gateway.charged.length).toBeLessThanOrEqual(2 * IN_FLIGHT);
    expect(await ledger.checkAccounts()).toEqual([]);
    late = 60_000;
    while ((await ledger.sweepHolds()) > 0);
    const balance = 1_000_000_000n - BigInt(charged.length);
    expect(await purse(ledger, buyer.account)).toEqual({ balance, held: 0n });
    const outcome = await ledger.hold(asks(buyer, balance));
    if (outcome.outcome !== "held") throw new Error(`Expected held, got ${outcome.outcome}.`);
    expect(await ledger.capture(captures(outcome.hold, 1n))).toMatchObject({ charged: 1n });
    expect(await ledger.checkAccounts()).toEqual([]);
  });
});

clocksContract("two processes whose clocks differ", (clock) => file.openAt(clock));
