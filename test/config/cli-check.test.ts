import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { built } from "../support/built.ts";
import { MEMO_SECRET, ONE_MODEL, SOLANA_ENV } from "./settings.ts";

let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-cli-"));
});
afterAll(async () => rm(directory, { recursive: true }));

function farebox(args: readonly string[], env: Record<string, string> = {}) {
  return new Promise<{ code: number | string; stdout: string; stderr: string }>((resolve) => {
    const options = { cwd: directory, env: { PATH: process.env["PATH"] ?? "", ...env } };
    execFile(process.execPath, [built("server/cli.js"), ...args], options, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, stdout, stderr });
    });
  });
}

test("check without a file describes local mode", async () => {
  const result = await farebox(["check", "--config"]);
  expect(result).toMatchObject({ code: 0, stderr: "" });
  expect(result.stdout).toContain("no real money moves");
  expect(result.stdout).toMatch(/POST \/agent +\$0\.02 {2}x402/);
});

test("check says each problem with its path and exits 2", async () => {
  const file = join(directory, "wrong.yaml");
  await writeFile(file, "payTo: abc\ncolour: red\n");
  expect(await farebox(["check", "--config", file])).toEqual({
    code: 2,
    stdout: "",
    stderr: "payTo: is not a Solana address (base58 of 32 bytes)\ncolour: unknown setting\n",
  });
  const json = await farebox(["check", "--json", `--config=${file}`]);
  expect(json.code).toBe(2);
  expect(JSON.parse(json.stdout)).toEqual({
    ok: false,
    problems: [
      { path: "payTo", message: "is not a Solana address (base58 of 32 bytes)" },
      { path: "colour", message: "unknown setting" },
    ],
  });
});

test("check --json tells what is sold and no secret", async () => {
  await writeFile(join(directory, "good.yaml"), ONE_MODEL);
  const env = { ...SOLANA_ENV, UPSTREAM_API_KEY: "planted-upstream-key", FAREBOX_CONFIG: "good.yaml" };
  const { code, stdout } = await farebox(["check", "--config", "--json"], env);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    network: "solana",
    models: ["gpt"],
    routes: expect.arrayContaining([
      { method: "POST", path: "/v1/embeddings", price: "0.002", tiers: ["x402", "key"], settle: "after" },
    ]),
  });
  for (const secret of [MEMO_SECRET, "planted-upstream-key", "api-key=abc"])
    expect(stdout).not.toContain(secret);
});

test("check says that a price is the model's, and each model's", async () => {
  const file = join(directory, "priced.yaml");
  await writeFile(
    file,
    'models: { by-token: { input: "$0.15/1M", output: "$0.60/1M" }, by-call: { price: "$0.01" }, flat: {} }\n' +
      "defaultModel: flat\n",
  );
  const { code, stdout } = await farebox(["check", "--config", file], SOLANA_ENV);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    new RegExp(
      [
        "POST /agent +by the model {2}x402, key",
        " {2}by-token: \\$0\\.15 per million input tokens, \\$0\\.60 per million output tokens",
        " {2}by-call: \\$0\\.01 per call",
        " {2}flat: \\$0\\.02 per call",
        "",
      ].join("\\n"),
    ),
  );
  const json = await farebox(["check", "--json", "--config", file], SOLANA_ENV);
  expect(JSON.parse(json.stdout).routes).toContainEqual({
    method: "POST",
    path: "/v1/embeddings",
    price: null,
    modelPrices: [
      { model: "by-token", unit: "token-million", input: "0.15", output: "0.60" },
      { model: "by-call", unit: "call", price: "0.01" },
      { model: "flat", unit: "call", price: "0.002" },
    ],
    tiers: ["x402", "key"],
    settle: "after",
  });
});

test("serve with a wrong configuration starts nothing and exits 2", async () => {
  const result = await farebox(["serve"], { HOST: "0.0.0.0" });
  expect(result).toMatchObject({ code: 2, stdout: "" });
  expect(result.stderr).toMatch(/^HOST: local mode/);
});

test.each([
  [["--help"], 0, /^Usage: farebox COMMAND/],
  [["check", "--help"], 0, /^Usage: farebox check/],
  [["--version"], 0, /^\d+\.\d+\.\d+\n$/],
  [[], 2, /^Usage: farebox COMMAND/],
  [["constructor"], 2, /^farebox: there is no command "constructor"/],
  [["check", "--verbose"], 2, /^farebox check: Unknown option '--verbose'/],
  [["check", "extra"], 2, /^farebox check: Unexpected argument 'extra'/],
])("farebox %j exits %i", async (args, code, text) => {
  const result = await farebox(args);
  expect(result.code).toBe(code);
  expect(code === 0 ? result.stdout : result.stderr).toMatch(text);
});
