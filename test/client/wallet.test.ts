import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKeyPairSignerFromBytes } from "@solana/kit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadOrCreateWallet } from "../../client/wallet.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-wallet-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

test("a new wallet is a Solana keypair file that only its owner can read", async () => {
  const path = join(directory, "data", "wallet.json");
  const { signer, isNew, isExposed } = await loadOrCreateWallet(path);
  expect([isNew, isExposed]).toEqual([true, false]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(join(directory, "data"))).mode & 0o777).toBe(0o700);
  const bytes: number[] = JSON.parse(await readFile(path, "utf8"));
  expect(bytes).toHaveLength(64);
  expect((await createKeyPairSignerFromBytes(Uint8Array.from(bytes))).address).toBe(signer.address);
  const again = await loadOrCreateWallet(path);
  expect([again.isNew, again.signer.address]).toEqual([false, signer.address]);
});

test("a place where nothing can be made is an error", async () => {
  await expect(loadOrCreateWallet("/proc/none/below/wallet.json")).rejects.toMatchObject({ code: "ENOENT" });
});

test("two that make the same wallet at once end with one key and no leftovers", async () => {
  const path = join(directory, "wallet.json");
  const wallets = await Promise.allSettled([loadOrCreateWallet(path), loadOrCreateWallet(path)]);
  const addresses = wallets.flatMap((made) => (made.status === "fulfilled" ? made.value.signer.address : []));
  expect(addresses).toHaveLength(2);
  expect(new Set(addresses).size).toBe(1);
  expect(await readdir(directory)).toEqual(["wallet.json"]);
});

test("a file that others can read is reported", async () => {
  const path = join(directory, "wallet.json");
  await loadOrCreateWallet(path);
  await chmod(path, 0o644);
  expect((await loadOrCreateWallet(path)).isExposed).toBe(true);
});

test.each([
  ["text", "not a key"],
  ["too short", "[1,2,3]"],
  ["numbers beyond a byte", JSON.stringify(Array(64).fill(256))],
  ["a public key that is not the seed's", JSON.stringify(Array(64).fill(7))],
])("a file with %s is refused, kept, and not quoted", async (_what, content) => {
  const path = join(directory, "wallet.json");
  await writeFile(path, content);
  await expect(loadOrCreateWallet(path)).rejects.toThrow(`${path} is not a Solana keypair file`);
  await expect(loadOrCreateWallet(path)).rejects.not.toThrow(content);
  expect(await readFile(path, "utf8")).toBe(content);
});
