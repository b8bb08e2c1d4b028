import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Child, startChild } from "../e2e/child-gateway.ts";

let directory: string;
let child: Child | undefined;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-main-"));
});
afterEach(async () => {
  await child?.stop();
  child = undefined;
  await rm(directory, { recursive: true, force: true });
});

/** On ports of its own: what ignores its arguments begins to serve. */
function main(...args: string[]): Child {
  const env = { PORT: "0", LOCALNET_RPC_PORT: "0", LOCALNET_FACILITATOR_PORT: "0" };
  child = startChild("server/main.js", { cwd: directory, env, args });
  return child;
}

test.each([[["--config", "wrong.yaml"]], [["--config=wrong.yaml", "--accept-data-loss"]]])(
  "%j reads that file",
  async (args) => {
    await writeFile(join(directory, "wrong.yaml"), "colour: red\n");
    const ended = main(...args);
    expect(await ended.exit).toBe(2);
    expect(ended.output()).toBe("colour: unknown setting\n");
  },
);

test("a file that is not there is named", async () => {
  const ended = main("--config", "nowhere.yaml");
  expect(await ended.exit).toBe(2);
  expect(ended.output()).toBe("nowhere.yaml: there is no such file\n");
});

test.each([
  ["--verbose", "Unknown option '--verbose'"],
  ["farebox.yaml", "Unexpected argument 'farebox.yaml'"],
])("%s is refused", async (arg, message) => {
  const ended = main(arg);
  expect(await ended.exit).toBe(2);
  expect(ended.output()).toContain(`farebox serve: ${message}`);
  expect(ended.output()).toContain("Usage: farebox serve [--config FILE] [--accept-data-loss]");
});
