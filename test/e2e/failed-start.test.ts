import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lastingPort } from "../support/lasting-port.ts";
import { type Child, startChild } from "./child-gateway.ts";

let directory: string;
let child: Child | undefined;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-failed-"));
});
afterEach(async () => {
  await child?.stop();
  child = undefined;
  await rm(directory, { recursive: true, force: true });
});

async function takenPort() {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return { port: String(address.port), close: () => server.close() };
}

async function serve(env: Readonly<Record<string, string>>): Promise<Child> {
  const usual = { PORT: String(await lastingPort()), LOCALNET_RPC_PORT: "0", LOCALNET_FACILITATOR_PORT: "0" };
  child = startChild("server/cli.js", { cwd: directory, env: { ...usual, ...env }, args: ["serve"] });
  return child;
}

test.each(["PORT", "ADMIN_PORT"])("`serve` in local mode ends with 1 when %s is in use", async (variable) => {
  const taken = await takenPort();
  const failed = await serve({ [variable]: taken.port });
  expect(await failed.exit).toBe(1);
  expect(failed.output()).toContain(`Port ${taken.port} on 127.0.0.1 is in use. Set ${variable}`);
  taken.close();
});

test("`serve` in local mode ends with 1 when the ledger's file is no database", async () => {
  await mkdir(join(directory, ".farebox"));
  await writeFile(join(directory, ".farebox/ledger.sqlite"), "no database, but text".repeat(100));
  const failed = await serve({});
  expect(await failed.exit).toBe(1);
  const path = join(directory, ".farebox/ledger.sqlite");
  expect(failed.output()).toContain(
    `farebox: The ledger at ${path} is no database. Restore or move the file, or set FAREBOX_DATA_DIR`,
  );
});

test.each([
  ["a file", "taken", "it is a file, or below one"],
  ["below a file", "taken/below", "it is a file, or below one"],
  ["below a directory that takes nothing", "/proc/none/data", "ENOENT"],
])("a data directory that is %s is named, with its setting", async (_what, dataDir, why) => {
  await writeFile(join(directory, "taken"), "");
  const failed = await serve({ FAREBOX_DATA_DIR: dataDir });
  expect(await failed.exit).toBe(1);
  expect(failed.output()).toContain(
    `farebox: The data directory ${resolve(directory, dataDir)} cannot be used (${why}). Set FAREBOX_DATA_DIR`,
  );
});

test("`serve` in local mode ends with 1 when nothing answers at LEDGER_URL", async () => {
  const failed = await serve({ LEDGER_URL: `redis://127.0.0.1:${await lastingPort()}` });
  expect(await failed.exit).toBe(1);
  expect(failed.output()).toContain("The Redis that LEDGER_URL names cannot be reached");
});
