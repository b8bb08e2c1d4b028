import {
  address,
  type Base64EncodedWireTransaction,
  generateKeyPairSigner,
  type Signature,
} from "@solana/kit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  openWorld,
  PRICE,
  post,
  rpcCall,
  signTransfer,
  TOKEN_PROGRAM,
  tokenAccountOf,
  type World,
} from "./world.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world.close());

async function land(memo: string) {
  const payer = await world.payer();
  const wire = (await signTransfer(world, payer, { memo })) as Base64EncodedWireTransaction;
  const sent = await world.rpc.sendTransaction(wire, { encoding: "base64" }).send();
  const account = await tokenAccountOf(payer.address, address(world.net.asset));
  return { payer, sent, account, wire };
}

describe("kit's client can call every method", () => {
  test("about blocks and the node", async () => {
    const { net, rpc } = world;
    const height = net.height();
    expect(await rpc.getBlockHeight().send()).toBe(height);
    expect(await rpc.getSlot().send()).toBeGreaterThan(height);
    expect(await rpc.getHealth().send()).toBe("ok");
    expect((await rpc.getVersion().send())["solana-core"]).toMatch(/^\d+\.\d+\.\d+$/);
    const genesis = await rpc.getGenesisHash().send();
    expect(net.network).toBe(`solana:${genesis.slice(0, 32)}`);
    expect(await rpc.getMinimumBalanceForRentExemption(165n).send()).toBe(2_039_280n);
    const { value } = await rpc.getLatestBlockhash().send();
    expect(value.lastValidBlockHeight).toBe(height + 150n);
    expect((await rpc.isBlockhashValid(value.blockhash).send()).value).toBe(true);
    const epoch = await rpc.getEpochInfo().send();
    expect(epoch.blockHeight).toBe(height);
    expect(await rpc.getFirstAvailableBlock().send()).toBe(0n);
    const seconds = Number(await rpc.getBlockTime(epoch.absoluteSlot).send());
    expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(10);
  });

  test("about accounts", async () => {
    const { net, rpc } = world;
    const mint = address(net.asset);
    const payer = await world.payer();
    const account = await tokenAccountOf(payer.address, mint);
    expect((await rpc.getTokenAccountBalance(account).send()).value).toEqual({
      amount: "5000000",
      decimals: 6,
      uiAmount: 5,
      uiAmountString: "5",
    });
    const parsed = await rpc.getAccountInfo(account, { encoding: "jsonParsed" }).send();
    expect(parsed.value?.data).toMatchObject({
      program: "spl-token",
      parsed: { type: "account", info: { mint, owner: payer.address, state: "initialized" } },
    });
    const mintInfo = await rpc.getAccountInfo(mint, { encoding: "jsonParsed" }).send();
    expect(mintInfo.value?.data).toMatchObject({ parsed: { type: "mint", info: { decimals: 6 } } });
    const wallet = await rpc.getAccountInfo(payer.address, { encoding: "base64" }).send();
    expect(wallet.value).toMatchObject({ data: ["", "base64"], lamports: 10_000_000n, executable: false });
    const nobody = (await generateKeyPairSigner()).address;
    expect((await rpc.getAccountInfo(nobody, { encoding: "base64" }).send()).value).toBeNull();
    const several = await rpc.getMultipleAccounts([account, nobody], { encoding: "base64" }).send();
    expect(several.value.map((each) => each?.owner)).toEqual([TOKEN_PROGRAM, undefined]);
    for (const filter of [{ mint }, { programId: TOKEN_PROGRAM }]) {
      const owned = await rpc
        .getTokenAccountsByOwner(payer.address, filter, { encoding: "jsonParsed" })
        .send();
      expect(owned.value.map(({ pubkey }) => pubkey)).toEqual([account]);
    }
    expect((await rpc.getBalance(payer.address).send()).value).toBe(10_000_000n);
  });

  test("a token account that does not exist has no balance: an error, as a node answers", async () => {
    const { address: nobody } = await generateKeyPairSigner();
    expect(await rpcCall(world.net, "getTokenAccountBalance", [nobody])).toMatchObject({
      error: { code: -32602, message: "Invalid param: could not find account" },
    });
  });

  test("about transactions, in every encoding", async () => {
    const { rpc } = world;
    const { payer, sent, wire } = await land("encodings");
    const version = { maxSupportedTransactionVersion: 0 } as const;
    const base64 = await rpc.getTransaction(sent, { encoding: "base64", ...version }).send();
    expect(base64?.transaction).toEqual([wire, "base64"]);
    const json = await rpc.getTransaction(sent, { encoding: "json", ...version }).send();
    expect(json?.transaction.signatures).toEqual([sent]);
    expect(json?.transaction.message).toMatchObject({ header: { numRequiredSignatures: 1 } });
    expect(json?.transaction.message.accountKeys[0]).toBe(payer.address);
    const parsed = await rpc.getTransaction(sent, { encoding: "jsonParsed", ...version }).send();
    expect(parsed?.transaction.message.accountKeys[0]).toMatchObject({
      pubkey: payer.address,
      signer: true,
      writable: true,
    });
    expect(parsed?.transaction.message.instructions[0]).toMatchObject({ programId: TOKEN_PROGRAM });
    const { value } = await rpc.getSignatureStatuses([sent]).send();
    expect(value[0]).toMatchObject({ err: null, confirmationStatus: "confirmed", confirmations: 0n });
    const simulated = await rpc.simulateTransaction(wire, { encoding: "base64" }).send();
    expect(simulated.value.err).toBe("AlreadyProcessed");
  });

  test("instructions called by programs are shown, their data in base58", async () => {
    const { net, rpc } = world;
    const { address: owner } = await generateKeyPairSigner();
    const account = await net.createTokenAccount(owner);
    const [made] = await rpc.getSignaturesForAddress(address(account)).send();
    const config = { commitment: "confirmed", maxSupportedTransactionVersion: 0 };
    const { result } = await rpcCall(net, "getTransaction", [made?.signature, config]);
    const { meta } = result as { meta: { innerInstructions: { index: number; instructions: unknown[] }[] } };
    const [called] = meta.innerInstructions;
    expect(called?.index).toBe(0);
    // The associated token program asks the token program how big an account is: instruction 21, then extension 7.
    expect(called?.instructions[0]).toMatchObject({ data: "84eT", stackHeight: 2 });
    const parsed = await rpcCall(net, "getTransaction", [
      made?.signature,
      { ...config, encoding: "jsonParsed" },
    ]);
    const shown = parsed["result"] as { meta: { innerInstructions: { instructions: unknown[] }[] } };
    expect(shown.meta.innerInstructions[0]?.instructions[0]).toMatchObject({
      programId: TOKEN_PROGRAM,
      accounts: [net.asset],
      data: "84eT",
    });
  });

  test("requestAirdrop gives SOL by a transaction", async () => {
    const { rpc } = world;
    const { address: somebody } = await generateKeyPairSigner();
    const airdrop = await rpcCall(world.net, "requestAirdrop", [somebody, 1_000_000_000]);
    expect((await rpc.getBalance(somebody).send()).value).toBe(1_000_000_000n);
    const { value } = await rpc.getSignatureStatuses([airdrop["result"] as Signature]).send();
    expect(value[0]?.err).toBeNull();
  });
});

describe("getSignaturesForAddress", () => {
  test("pages by limit, before and until, newest first", async () => {
    const { net, rpc } = world;
    const payer = await world.payer();
    const account = await tokenAccountOf(payer.address, address(net.asset));
    const sent: Signature[] = [];
    for (const memo of ["a", "b", "c"]) {
      const wire = (await signTransfer(world, payer, { memo })) as Base64EncodedWireTransaction;
      sent.unshift(await rpc.sendTransaction(wire, { encoding: "base64" }).send());
    }
    const [c, b, a] = sent;
    const list = async (config: object) =>
      (await rpc.getSignaturesForAddress(account, config).send()).map((each) => each.signature);
    const [funding] = (await list({})).slice(-1);
    expect(await list({})).toEqual([c, b, a, funding]);
    expect(await list({ limit: 2 })).toEqual([c, b]);
    expect(await list({ before: c, limit: 1 })).toEqual([b]);
    expect(await list({ before: c, until: a })).toEqual([b]);
    expect(await list({ until: b })).toEqual([c]);
  });

  test("a transaction is final after 32 blocks, and only then for who asks for finalized", async () => {
    const { net, rpc } = world;
    const { account, sent } = await land("finality");
    const list = () => rpc.getSignaturesForAddress(account, { commitment: "finalized" }).send();
    const show = () => rpcCall(net, "getTransaction", [sent, { maxSupportedTransactionVersion: 0 }]);
    net.warp(31);
    expect((await list()).map(({ signature }) => signature)).not.toContain(sent);
    expect(await show()).toMatchObject({ result: null });
    net.warp(1);
    expect((await list())[0]).toMatchObject({ signature: sent, confirmationStatus: "finalized" });
    expect(await show()).toMatchObject({ result: { version: 0 } });
  });
});

test("a v0 transaction is shown only to who knows v0", async () => {
  const { sent } = await land("version");
  const answer = await rpcCall(world.net, "getTransaction", [sent, { commitment: "confirmed" }]);
  expect(answer).toMatchObject({ error: { code: -32015 } });
});

test("a node that has not seen the caller's slot says so", async () => {
  const { net, rpc } = world;
  const { account } = await land("context");
  const slot = Number(await rpc.getSlot().send());
  const ask = (minContextSlot: number) =>
    rpcCall(net, "getSignaturesForAddress", [account, { commitment: "confirmed", minContextSlot }]);
  expect(await ask(slot)).toHaveProperty("result");
  expect(await ask(slot + 1)).toMatchObject({ error: { code: -32016, data: { contextSlot: slot } } });
});

describe("JSON-RPC", () => {
  const health = { jsonrpc: "2.0", id: 7, method: "getHealth" };

  test.each([
    ["malformed JSON", "{", -32700, null],
    ["an empty body", "", -32700, null],
    ["a number", "5", -32600, null],
    ["an empty batch", "[]", -32600, null],
    ["too long a batch", JSON.stringify(Array(101).fill(health)), -32600, null],
    ["another version", { ...health, jsonrpc: "1.0" }, -32600, 7],
    ["no method", { jsonrpc: "2.0", id: 7 }, -32600, 7],
    ["an unknown method", { ...health, method: "getBlock" }, -32601, 7],
    ["a method named like a property", { ...health, method: "constructor" }, -32601, 7],
    ["missing params", { ...health, method: "getBalance" }, -32602, 7],
    ["params of another type", { ...health, method: "getBalance", params: [5] }, -32602, 7],
    ["no transaction", { ...health, method: "sendTransaction", params: ["AQID"] }, -32602, 7],
    ["no base58", { ...health, method: "sendTransaction", params: ["0OIl"] }, -32602, 7],
  ])("%s is an error with a code", async (_, body, code, id) => {
    expect(await post(world.net.rpcUrl, body)).toMatchObject({ status: 200, body: { id, error: { code } } });
  });

  test("a batch is answered in order", async () => {
    const batch = [health, { ...health, id: "x", method: "nonsense" }, 5];
    expect((await post(world.net.rpcUrl, batch)).body).toMatchObject([
      { id: 7, result: "ok" },
      { id: "x", error: { code: -32601 } },
      { id: null, error: { code: -32600 } },
    ]);
  });

  test("a browser may ask from any page", async () => {
    const preflight = await fetch(world.net.rpcUrl, { method: "OPTIONS" });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
    expect(preflight.headers.get("access-control-allow-headers")).toBe("*");
    const answer = await fetch(world.net.rpcUrl, { method: "POST", body: JSON.stringify(health) });
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    await answer.body?.cancel();
  });

  test.each(["rpcUrl", "facilitatorUrl"] as const)("a body over 1 MiB is a 413 at %s", async (url) => {
    const path = url === "rpcUrl" ? "" : "/settle";
    const answer = await post(`${world.net[url]}${path}`, " ".repeat(1024 * 1024 + 1));
    expect(answer.status).toBe(413);
  });

  test("GET is not a call", async () => {
    const answer = await fetch(world.net.rpcUrl);
    expect(answer.status).toBe(405);
    await answer.body?.cancel();
  });
});

test("the balance told by RPC is the one told in process", async () => {
  const { net, rpc } = world;
  const before = net.tokenBalance(net.merchant);
  await land("balance");
  const account = await tokenAccountOf(address(net.merchant), address(net.asset));
  const { value } = await rpc.getTokenAccountBalance(account).send();
  expect(net.tokenBalance(net.merchant)).toBe(before + PRICE);
  expect(value.amount).toBe((before + PRICE).toString());
});
