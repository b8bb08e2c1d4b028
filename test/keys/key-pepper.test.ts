import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createActions } from "../../server/admin/actions.ts";
import { checkPepper, takePepper } from "../../server/key-pepper.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { runFarebox } from "../admin/run-farebox.ts";
import { startChild } from "../e2e/child-gateway.ts";
import { customer } from "../ledger/customers.ts";
import { openRedis } from "../ledger/open-redis.ts";
import { startRedis } from "../support/redis-server.ts";

const [ONE, OTHER] = ["one-".repeat(9), "other-".repeat(6)];

async function emptyDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "farebox-pepper-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Nothing is in either: each test is the only one that uses it. */
const STORES: readonly [string, () => Promise<Ledger>][] = [
  [
    "SQLite",
    async () =>
      openSqliteLedger({ path: join(await emptyDirectory(), "l"), network: "local", onFatal: () => {} }),
  ],
  [
    "Redis",
    async () => {
      const server = await startRedis();
      onTestFinished(() => server.stop());
      return openRedis(server.url);
    },
  ],
];

describe.each(STORES)("the pepper's mark in %s", (_name, open) => {
  async function opened(): Promise<Ledger> {
    const ledger = await open();
    onTestFinished(() => ledger.close());
    return ledger;
  }
  const start = (ledger: Ledger, pepper: string | undefined, acceptVoidKeys = false) =>
    takePepper(ledger, { pepper, acceptVoidKeys });
  const desk = (ledger: Ledger, pepper: string | undefined) =>
    createActions({
      ...{
        ledger,
        pepper,
        prefixes: ["sk_farebox_"],
        seal: undefined,
        providerKeyStatus: () => "unusable",
        providers: [],
        clock: Date.now,
      },
    });
  async function keyUnder(ledger: Ledger, pepper: string | undefined): Promise<string> {
    const { id: account } = await desk(ledger, pepper).createAccount({ name: "Acme" });
    return String((await desk(ledger, pepper).createKey({ account }))["id"]);
  }

  test("no gateway starts under another pepper while keys are active, which it would refuse", async () => {
    const ledger = await opened();
    await start(ledger, ONE);
    const id = await keyUnder(ledger, ONE);
    await start(ledger, ONE);
    for (const pepper of [undefined, OTHER]) {
      await expect(start(ledger, pepper)).rejects.toThrow(
        "FAREBOX_KEY_PEPPER fits none of the ledger's active keys (1): each of them would be refused. Another was set",
      );
    }
    await start(ledger, ONE);
    await desk(ledger, ONE).revokeKey(id);
    await start(ledger, OTHER);
    await keyUnder(ledger, OTHER);
    await expect(start(ledger, ONE)).rejects.toThrow("--accept-void-keys");
    await start(ledger, undefined, true);
    await start(ledger, undefined);
    await expect(start(ledger, OTHER)).rejects.toThrow("None was set when they were made");
  });

  test("who makes a key, or a new secret of one, must have the gateways' pepper", async () => {
    const ledger = await opened();
    await start(ledger, ONE);
    const id = await keyUnder(ledger, ONE);
    const [key] = await ledger.keys(undefined);
    for (const pepper of [undefined, OTHER]) {
      const other = desk(ledger, pepper);
      await expect(other.createKey({ account: key?.account })).rejects.toMatchObject({
        code: "key_pepper_differs",
      });
      await expect(other.rotateKey(id, {})).rejects.toMatchObject({ code: "key_pepper_differs" });
      expect(await other.showKey(id)).toMatchObject({ last4: key?.last4 });
    }
    expect(await ledger.keys(undefined)).toHaveLength(1);
  });

  test("keys that are made before the first start are its own", async () => {
    const ledger = await opened();
    await keyUnder(ledger, undefined);
    await expect(checkPepper(ledger, ONE)).rejects.toMatchObject({ code: "key_pepper_differs" });
    await expect(start(ledger, ONE)).rejects.toThrow("None was set when they were made");
    await start(ledger, undefined);
  });

  test("a ledger of a release before, which has keys and no mark, is taken as it is", async () => {
    const ledger = await opened();
    await customer(ledger, 1n);
    await start(ledger, ONE);
    await expect(start(ledger, OTHER)).rejects.toThrow("active keys (1)");
  });

  test("nothing but a mark of the pepper is in the ledger", async () => {
    const ledger = await opened();
    await start(ledger, ONE);
    expect(await ledger.pepperMark()).toMatch(/^[0-9a-f]{64}$/);
  });
});

test("a start without the pepper of before ends with 1 and says why, unless told otherwise", async () => {
  const cwd = await emptyDirectory();
  const none = { PORT: "0", LOCALNET_RPC_PORT: "0", LOCALNET_FACILITATOR_PORT: "0" };
  const env = { ...none, FAREBOX_KEY_PEPPER: ONE };
  const made = await runFarebox(["accounts", "create", "Acme", "--json"], { cwd, env });
  const account = String(JSON.parse(made.stdout).id);
  const create = ["keys", "create", "--account", account];
  expect((await runFarebox(create, { cwd, env })).code).toBe(0);
  const forgotten = await runFarebox(create, { cwd, env: none });
  expect(forgotten).toMatchObject({ code: 1, stdout: "" });
  expect(forgotten.stderr).toContain("The gateways run with another FAREBOX_KEY_PEPPER");

  const refused = startChild("server/main.js", { cwd, env: none });
  onTestFinished(() => refused.stop());
  expect(await refused.exit).toBe(1);
  expect(refused.output()).toContain("farebox: FAREBOX_KEY_PEPPER fits none of the ledger's active keys (1)");

  const forced = startChild("server/main.js", { cwd, env: none, args: ["--accept-void-keys"] });
  onTestFinished(() => forced.stop());
  await forced.line({ msg: "listening" });
});
