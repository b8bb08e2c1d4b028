import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLocalJWKSet, jwtVerify } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonOf, runFarebox } from "./run-farebox.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-token-"));
  const jwt =
    "jwt: { jwksFile: jwks.json, issuer: https://me.example, audience: farebox, accountClaim: org }";
  await writeFile(join(directory, "farebox.yaml"), jwt);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

function farebox(args: readonly string[], env: Record<string, string> = {}) {
  return runFarebox(args, { cwd: directory, env: { FAREBOX_DATA_DIR: "data", ...env } });
}

test("a key pair is made once, and a token of it is what the configuration demands", async () => {
  const made = jsonOf(await farebox(["token", "new-key", "--json"]));
  const privateKey = join(directory, "data", "jwt-private-key.json");
  expect(made).toMatchObject({ private_key: privateKey, jwks: join(directory, "jwks.json") });
  expect((await stat(privateKey)).mode & 0o077).toBe(0);
  expect((await stat(join(directory, "data"))).mode & 0o077).toBe(0);
  expect(await farebox(["token", "new-key"])).toMatchObject({
    code: 1,
    stderr: `farebox: there is a private key at ${privateKey}; name another file with --private-key\n`,
  });

  const printed = await farebox(["token", "--account", "acme", "--ttl", "2m"]);
  expect(printed).toMatchObject({ code: 0, stderr: "" });
  const jwks = createLocalJWKSet(JSON.parse(await readFile(join(directory, "jwks.json"), "utf8")));
  const { payload, protectedHeader } = await jwtVerify(printed.stdout.trim(), jwks, {
    issuer: "https://me.example",
    audience: "farebox",
    typ: "farebox+jwt",
  });
  expect(payload["org"]).toBe("acme");
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(120);
  expect(protectedHeader.kid).toBe(made["kid"]);
});

test.each([
  [["token"], 2, "farebox token: --account is missing"],
  [["token", "--account", "a", "--ttl", "16m"], 2, "farebox token: --ttl: must be from 1s to 900s"],
  [
    ["token", "--account", "a", "--private-key", "none.json"],
    2,
    "farebox token: there is no private key at ",
  ],
  [["token", "new-key", "--private-key", "/proc/none/below/key.json"], 1, "farebox: ENOENT"],
])("%j exits %i", async (args, code, message) => {
  const result = await farebox(args);
  expect(result).toMatchObject({ code, stdout: "" });
  expect(result.stderr.startsWith(message)).toBe(true);
});

test("a private key elsewhere has to be named", async () => {
  const elsewhere = { FAREBOX_DATA_DIR: "elsewhere" };
  await farebox(["token", "new-key", "--private-key", "own.json"], elsewhere);
  const path = join(directory, "elsewhere", "jwt-private-key.json");
  expect(await farebox(["token", "--account", "a"], elsewhere)).toEqual({
    code: 2,
    stdout: "",
    stderr: `farebox token: there is no private key at ${path}; name it with --private-key, or make one: token new-key\n`,
  });
  const named = await farebox(["token", "--account", "a", "--private-key", "own.json"], elsewhere);
  expect(named).toMatchObject({ code: 0, stderr: "" });
});

test("without jwt: there is nothing to issue", async () => {
  await writeFile(join(directory, "other.yaml"), "service: { name: Other }");
  const result = await farebox(["token", "--account", "a"], { FAREBOX_CONFIG: "other.yaml" });
  expect(result).toMatchObject({ code: 2, stderr: "farebox token: jwt: is not configured\n" });
});
