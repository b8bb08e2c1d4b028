import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { built } from "../support/built.ts";
import { type AdminWorld, adminEnv, openAdminWorld, usageFacts } from "./admin-world.ts";

/** A megabyte in every form: more than what lies between two processes. */
const CALLS = 1_000;
const MODEL = "m".repeat(1_000);

let world: AdminWorld;
beforeAll(async () => {
  world = await openAdminWorld();
  const facts = usageFacts({ account: "acme", model: MODEL });
  await Promise.all(Array.from({ length: CALLS }, () => world.ledger.recordUsage(facts, 1n)));
});
afterAll(() => world.close());

test.each([
  ["a table", ["--limit", String(CALLS)], /^farebox usage: what is older, if anything: --before \d+\n$/],
  ["JSON", ["--limit", String(CALLS), "--json"], /^$/],
  ["CSV", ["--csv"], /^$/],
])("a reader that leaves after the first of it has seen enough: %s", async (_, args, said) => {
  const child = spawn(process.execPath, [built("server/cli.js"), "usage", ...args], {
    cwd: world.dataDir,
    env: { PATH: process.env["PATH"] ?? "", ...adminEnv(world.dataDir) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += String(chunk)));
  const closed = once(child, "close");
  await once(child.stdout, "readable");
  child.stdout.destroy();
  expect(await closed).toEqual([0, null]);
  expect(stderr).toMatch(said);
});
