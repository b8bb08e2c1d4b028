import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { address, type Signature } from "@solana/kit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type LocalnetOptions, startLocalnet } from "../../localnet/index.ts";
import { openWorld, PRICE, rpcCall, signTransfer, tokenAccountOf, type World } from "./world.ts";

let dataDir: string;
let open: World[];
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "localnet-"));
  open = [];
});
afterEach(async () => {
  for (const world of open) await world.close();
  await rm(dataDir, { recursive: true, force: true });
});

async function start(options: Partial<LocalnetOptions> = {}): Promise<World> {
  const world = await openWorld({ dataDir, ...options });
  open.push(world);
  return world;
}

const base64 = { encoding: "base64" };
const journal = () => join(dataDir, "chain.jsonl");

describe("what a restart keeps", () => {
  test("wallets, balances, history, signatures and heights", async () => {
    const first = await start();
    const payer = await first.payer();
    first.net.warp(40);
    const wire = await signTransfer(first, payer, { memo: "kept" });
    const sent = (await rpcCall(first.net, "sendTransaction", [wire, base64]))["result"] as Signature;
    const shown = await rpcCall(first.net, "getTransaction", [
      sent,
      { commitment: "confirmed", maxSupportedTransactionVersion: 0 },
    ]);
    first.net.warp(3);
    await first.close();

    const second = await start();
    expect(second.net.merchant).toBe(first.net.merchant);
    expect(second.net.feePayer).toBe(first.net.feePayer);
    expect(second.net.tokenBalance(payer.address)).toBe(5_000_000n - PRICE);
    expect(second.net.tokenBalance(second.net.merchant)).toBe(PRICE);
    expect(second.net.height()).toBe(43n);
    expect(second.net.transfersTo(second.net.merchant)).toEqual(first.net.transfersTo(first.net.merchant));
    const again = await rpcCall(second.net, "getTransaction", [
      sent,
      { commitment: "confirmed", maxSupportedTransactionVersion: 0 },
    ]);
    expect(again["result"]).toEqual(shown["result"]);
    const account = await tokenAccountOf(payer.address, address(second.net.asset));
    const listed = await second.rpc.getSignaturesForAddress(account).send();
    expect(listed[0]).toMatchObject({ signature: sent, memo: "[4] kept" });
  });

  test("mints that were made, and what was given of them", async () => {
    const first = await start();
    const payer = await first.payer();
    const pointer = { bytes: 64, data: Buffer.from([39, 0, ...new Uint8Array(64).fill(7)]) };
    const mints = [
      await first.net.createMint({ program: "token", decimals: 0 }),
      await first.net.createMint({ program: "token-2022", decimals: 9, extensions: [pointer] }),
      first.net.play,
    ];
    for (const mint of mints) await first.net.fund(payer.address, 7n, mint);
    await first.close();
    const second = await start();
    for (const mint of mints) expect(second.net.tokenBalance(payer.address, mint)).toBe(7n);
    await expect(second.net.fund(payer.address, 1n, payer.address)).rejects.toThrow("is no mint here");
  });

  test("a landed message is still a duplicate, a signed one may still land, an expired one may not", async () => {
    const first = await start();
    const payer = await first.payer();
    const landed = await signTransfer(first, payer, { memo: "landed" });
    const waiting = await signTransfer(first, payer, { memo: "waiting" });
    const late = await signTransfer(first, payer, { memo: "late" });
    await rpcCall(first.net, "sendTransaction", [landed, base64]);
    await first.close();

    const { net } = await start();
    const send = (wire: string) => rpcCall(net, "sendTransaction", [wire, base64]);
    expect(await send(landed)).toMatchObject({ error: { data: { err: "AlreadyProcessed" } } });
    expect(await send(waiting)).toHaveProperty("result");
    net.warp(151);
    expect(await send(late)).toMatchObject({ error: { data: { err: "BlockhashNotFound" } } });
    expect(net.tokenBalance(net.merchant)).toBe(2n * PRICE);
  });

  test("after a crash everything that was answered is there", async () => {
    const first = await start();
    const payer = await first.payer();
    first.net.warp(5);
    await rpcCall(first.net, "sendTransaction", [await signTransfer(first, payer), base64]);
    const log = await readFile(journal());
    await first.close();
    // What the disk held when the process was still running: no closing line.
    await writeFile(journal(), log);

    const { net } = await start();
    expect(net.tokenBalance(net.merchant)).toBe(PRICE);
    expect(net.height()).toBe(5n);
  });

  test("the height goes on from where the running clock had brought it", async () => {
    const first = await start({ slotMs: 1 });
    while (first.net.height() < 20n) await new Promise((resolve) => setImmediate(resolve));
    const log = await readFile(journal());
    const told = first.net.height();
    await first.close();
    await writeFile(journal(), log);
    const second = await start({ slotMs: 400 });
    expect(second.net.height()).toBeGreaterThanOrEqual(told);
  });
});

describe("the files", () => {
  test("keypairs and log are for the owner alone", async () => {
    await start();
    const names = await readdir(dataDir);
    expect(names.sort()).toEqual(["chain.jsonl", "faucet.json", "fee-payer.json", "merchant.json"]);
    for (const name of names) expect((await stat(join(dataDir, name))).mode & 0o777).toBe(0o600);
  });

  test("a last line cut short is dropped, and the next one stands alone", async () => {
    const first = await start();
    const payer = await first.payer();
    await first.close();
    await appendFile(journal(), '{"kind":"transaction","height":0,"at":17');

    const second = await start();
    expect(second.net.tokenBalance(payer.address)).toBe(5_000_000n);
    await rpcCall(second.net, "sendTransaction", [await signTransfer(second, payer), base64]);
    await second.close();

    const third = await start();
    expect(third.net.tokenBalance(third.net.merchant)).toBe(PRICE);
  });

  test("a damaged line elsewhere is an error that names it", async () => {
    await (await start()).close();
    const lines = (await readFile(journal(), "utf8")).split("\n");
    await writeFile(journal(), lines.with(1, '{"kind":"open"}').join("\n"));
    await expect(start()).rejects.toThrow(/chain\.jsonl, line 2 is damaged/);
  });

  test("a log of other keys is refused", async () => {
    await (await start()).close();
    await rm(join(dataDir, "faucet.json"));
    await expect(start()).rejects.toThrow(/belongs to other keys/);
  });

  test.each(["{}", "[1,2]", JSON.stringify(Array(64).fill(1))])(
    "a keypair file with %s is refused",
    async (text) => {
      await writeFile(join(dataDir, "merchant.json"), text);
      await expect(start()).rejects.toThrow(/merchant\.json is not a Solana keypair/);
    },
  );

  test("a refused start leaves its ports free", async () => {
    const world = await start();
    const port = Number(new URL(world.net.rpcUrl).port);
    await world.close();
    await writeFile(journal(), "nonsense\n");
    await expect(start({ rpcPort: port })).rejects.toThrow(/line 1 is damaged/);
    await rm(journal());
    expect((await start({ rpcPort: port })).net.rpcUrl).toBe(world.net.rpcUrl);
  });
});

describe("a port in use", () => {
  test.each([
    ["rpcPort", "LOCALNET_RPC_PORT"],
    ["facilitatorPort", "LOCALNET_FACILITATOR_PORT"],
  ] as const)(
    "%s: the error names port and variable, and the log is not touched",
    async (option, variable) => {
      const holder = createServer();
      await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
      const { port } = holder.address() as { port: number };
      const taken = startLocalnet({ rpcPort: 0, facilitatorPort: 0, dataDir, [option]: port });
      await expect(taken).rejects.toThrow(
        `Port ${port} on 127.0.0.1 is in use. Set ${variable} to a free one.`,
      );
      expect(await readdir(dataDir)).toEqual([]);
      await new Promise((resolve) => holder.close(resolve));
    },
  );
});

test("in memory nothing is written and two chains are strangers", async () => {
  const one = await openWorld();
  const two = await openWorld();
  open.push(one, two);
  expect(one.net.merchant).not.toBe(two.net.merchant);
  const wire = await signTransfer(one, await one.payer());
  expect(await rpcCall(two.net, "sendTransaction", [wire, base64])).toMatchObject({
    error: { data: { err: "BlockhashNotFound" } },
  });
  expect(await readdir(dataDir)).toEqual([]);
});
