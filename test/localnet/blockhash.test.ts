import {
  type Base64EncodedWireTransaction,
  getBase64EncodedWireTransaction,
  getTransactionDecoder,
} from "@solana/kit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  facilitate,
  openWorld,
  PRICE,
  payV2,
  requirements,
  rpcCall,
  signTransfer,
  type World,
} from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world.close());

const base64 = { encoding: "base64" };

function refusal(err: unknown) {
  return { error: { code: -32002, data: { err } } };
}

describe("a blockhash lives for 150 blocks", () => {
  test.each([
    [0, true],
    [149, true],
    [150, true],
    [151, false],
    [10_000, false],
  ])("after %i blocks a transaction may land: %s", async (blocks, lands) => {
    const { net } = world;
    const wire = await signTransfer(world, await world.payer());
    net.warp(blocks);
    const simulated = await rpcCall(net, "simulateTransaction", [wire, base64]);
    expect(simulated["result"]).toMatchObject({ value: { err: lands ? null : "BlockhashNotFound" } });
    const sent = await rpcCall(net, "sendTransaction", [wire, base64]);
    if (!lands) expect(sent).toMatchObject(refusal("BlockhashNotFound"));
    expect(net.tokenBalance(net.merchant)).toBe(lands ? PRICE : 0n);
  });

  test("the last valid block height told with it is the last one", async () => {
    const { net, rpc } = world;
    net.warp(7);
    const { value } = await rpc.getLatestBlockhash().send();
    expect(value.lastValidBlockHeight).toBe(157n);
    net.warp(150);
    expect(net.height()).toBe(157n);
    expect((await rpc.isBlockhashValid(value.blockhash).send()).value).toBe(true);
    net.warp(1);
    expect((await rpc.isBlockhashValid(value.blockhash).send()).value).toBe(false);
  });

  test("an expired payment fails at verify and at settle, and with skipPreflight too", async () => {
    const { net } = world;
    const accepted = requirements(net);
    const payload = await payV2(net, await world.payer(), accepted);
    const wire = await signTransfer(world, await world.payer());
    net.warp(151);
    const invalid = { invalidMessage: 'Simulation failed: "BlockhashNotFound"' };
    expect((await facilitate(net, "verify", payload, accepted)).body).toMatchObject(invalid);
    expect((await facilitate(net, "settle", payload, accepted)).body).toMatchObject({ success: false });
    const sent = await rpcCall(net, "sendTransaction", [wire, { ...base64, skipPreflight: true }]);
    expect(sent).toMatchObject(refusal("BlockhashNotFound"));
    expect(net.tokenBalance(net.merchant)).toBe(0n);
  });

  test("a simulation may take the newest one instead", async () => {
    const { net } = world;
    const wire = await signTransfer(world, await world.payer());
    net.warp(151);
    const config = { ...base64, replaceRecentBlockhash: true, commitment: "confirmed" };
    const { value } = (await rpcCall(net, "simulateTransaction", [wire, config]))["result"] as {
      value: unknown;
    };
    expect(value).toMatchObject({ err: null, replacementBlockhash: { lastValidBlockHeight: 301 } });
  });

  test("the finalized height is 32 behind, never below 0", async () => {
    const { net, rpc } = world;
    const finalized = () => rpc.getBlockHeight({ commitment: "finalized" }).send();
    net.warp(31);
    expect(await finalized()).toBe(0n);
    net.warp(2);
    expect(await finalized()).toBe(1n);
    expect(await rpc.getBlockHeight({ commitment: "processed" }).send()).toBe(33n);
  });
});

describe("one message lands once", () => {
  async function landOne() {
    const wire = await signTransfer(world, await world.payer());
    const sent = await rpcCall(world.net, "sendTransaction", [wire, base64]);
    return { wire, signature: sent["result"] };
  }

  test("sent again it is refused as processed, and so says a simulation", async () => {
    const { net } = world;
    const { wire } = await landOne();
    expect(await rpcCall(net, "sendTransaction", [wire, base64])).toMatchObject(refusal("AlreadyProcessed"));
    expect(await rpcCall(net, "simulateTransaction", [wire, base64])).toMatchObject({
      result: { value: { err: "AlreadyProcessed" } },
    });
    expect(net.tokenBalance(net.merchant)).toBe(PRICE);
  });

  test("without preflight the same transaction gives its signature again and moves nothing", async () => {
    const { net } = world;
    const { wire, signature } = await landOne();
    const again = await rpcCall(net, "sendTransaction", [wire, { ...base64, skipPreflight: true }]);
    expect(again).toMatchObject({ result: signature });
    expect(net.tokenBalance(net.merchant)).toBe(PRICE);
  });

  test("a settled payment sent directly is refused, whoever's signature stands on it", async () => {
    const { net } = world;
    const accepted = requirements(net);
    const payload = await payV2(net, await world.payer(), accepted);
    const settled = await facilitate(net, "settle", payload, accepted);
    const shown = await rpcCall(net, "getTransaction", [
      settled.body["transaction"],
      { ...base64, commitment: "confirmed", maxSupportedTransactionVersion: 0 },
    ]);
    const [wire] = (shown["result"] as { transaction: [string] }).transaction;
    expect(await rpcCall(net, "sendTransaction", [wire, base64])).toMatchObject(refusal("AlreadyProcessed"));
    const resigned = withSignature(wire, 7);
    for (const skipPreflight of [true, false]) {
      const sent = await rpcCall(net, "sendTransaction", [resigned, { ...base64, skipPreflight }]);
      expect(sent).toMatchObject(refusal("AlreadyProcessed"));
    }
    expect(net.tokenBalance(net.merchant)).toBe(PRICE);
  });

  test("bytes appended to the message do not make it another one", async () => {
    const { net } = world;
    const { wire } = await landOne();
    const longer = Buffer.concat([Buffer.from(wire, "base64"), Buffer.from([0])]).toString("base64");
    const sent = await rpcCall(net, "sendTransaction", [longer, { ...base64, skipPreflight: true }]);
    expect(sent).toMatchObject({ error: { code: -32602 } });
    expect(net.tokenBalance(net.merchant)).toBe(PRICE);
  });

  test("two equal transfers that differ in their memo both land", async () => {
    const { net } = world;
    const payer = await world.payer();
    for (const memo of ["one", "two"]) {
      await rpcCall(net, "sendTransaction", [await signTransfer(world, payer, { memo }), base64]);
    }
    expect(net.transfersTo(net.merchant).map(({ memo }) => memo)).toEqual(["[3] one", "[3] two"]);
    expect(net.tokenBalance(net.merchant)).toBe(2n * PRICE);
  });
});

test("a wrong signature is refused, with and without preflight", async () => {
  const { net } = world;
  const forged = withSignature(await signTransfer(world, await world.payer()), 9);
  for (const skipPreflight of [true, false]) {
    const sent = await rpcCall(net, "sendTransaction", [forged, { ...base64, skipPreflight }]);
    expect(sent).toMatchObject({ error: { code: -32003 } });
  }
  expect(net.tokenBalance(net.merchant)).toBe(0n);
});

test("a transaction that fails on the chain costs its fee, is listed with its error and moves nothing", async () => {
  const { net, rpc } = world;
  const payer = await world.payer();
  const wire = await signTransfer(world, payer, { amount: 5_000_001n });
  const before = (await rpc.getBalance(payer.address).send()).value;
  const sent = await rpc
    .sendTransaction(wire as Base64EncodedWireTransaction, { encoding: "base64", skipPreflight: true })
    .send();
  expect((await rpc.getBalance(payer.address).send()).value).toBe(before - 5_000n);
  const err = { InstructionError: [0, { Custom: 1 }] };
  expect(net.transfersTo(net.merchant)).toMatchObject([
    { signature: sent, payer: payer.address, amount: 0n, err },
  ]);
  expect(await rpcCall(net, "getSignatureStatuses", [[sent]])).toMatchObject({
    result: { value: [{ err }] },
  });
  expect(await rpcCall(net, "sendTransaction", [wire, base64])).toMatchObject(refusal("AlreadyProcessed"));
});

function withSignature(wire: string, byte: number): string {
  const transaction = getTransactionDecoder().decode(Buffer.from(wire, "base64"));
  const forged = Object.fromEntries(
    Object.keys(transaction.signatures).map((signer) => [signer, new Uint8Array(64).fill(byte)]),
  );
  return getBase64EncodedWireTransaction({
    ...transaction,
    signatures: forged as typeof transaction.signatures,
  });
}
