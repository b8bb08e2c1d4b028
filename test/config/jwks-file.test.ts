import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { runFarebox } from "../admin/run-farebox.ts";
import { startChild } from "../e2e/child-gateway.ts";

/** A key set that cannot be read would refuse every token only when the first comes. */
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-jwks-"));
  await writeFile(
    join(directory, "farebox.yaml"),
    "jwt: { jwksFile: jwks.json, issuer: https://me.example, audience: farebox }\n",
  );
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const ENV = { PORT: "0", LOCALNET_RPC_PORT: "0", LOCALNET_FACILITATOR_PORT: "0" };
const farebox = (...args: string[]) => runFarebox(args, { cwd: directory, env: ENV });

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const open = publicKey.export({ format: "jwk" });
const NO_KEY =
  "jwt.jwksFile: the file has no public key that tokens can be checked with (Ed25519 or P-256, for signatures)\n";
const NO_SET = 'jwt.jwksFile: the file is no JWKS, a JSON object such as {"keys": [...]}\n';

test.each([
  ["no file", undefined, "jwt.jwksFile: there is no such file; `farebox token new-key` makes it\n"],
  ["no JSON", "keys", NO_SET],
  ["another JSON", "[]", NO_SET],
  ["no keys", { keys: [] }, NO_KEY],
  ["a private key", { keys: [privateKey.export({ format: "jwk" })] }, NO_KEY],
  ["a key for encryption", { keys: [{ ...open, use: "enc" }] }, NO_KEY],
  ["an RSA key", { keys: [{ kty: "RSA", n: "AQAB", e: "AQAB" }] }, NO_KEY],
  ["a damaged key", { keys: [{ ...open, x: "AQAB" }] }, NO_KEY],
])("`check` refuses %s", async (_name, file, message) => {
  if (file !== undefined) {
    await writeFile(join(directory, "jwks.json"), typeof file === "string" ? file : JSON.stringify(file));
  }
  expect(await farebox("check", "--config")).toEqual({ code: 2, stdout: "", stderr: message });
});

test("`serve` does not start without it; `token new-key` makes it, and then `check` is content", async () => {
  const serving = startChild("server/cli.js", { cwd: directory, env: ENV, args: ["serve"] });
  onTestFinished(() => serving.stop());
  expect(await serving.exit).toBe(2);
  expect(serving.output()).toBe("jwt.jwksFile: there is no such file; `farebox token new-key` makes it\n");
  expect(await farebox("token", "new-key")).toMatchObject({ code: 0, stderr: "" });
  expect(await farebox("check")).toMatchObject({ code: 0, stderr: "" });
});
