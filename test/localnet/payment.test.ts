import { createHash } from "node:crypto";
import { address, generateKeyPairSigner, getTransactionDecoder, signature } from "@solana/kit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  facilitate,
  openWorld,
  PRICE,
  payV1,
  payV2,
  post,
  requirements,
  requirementsV1,
  rpcCall,
  tokenAccountOf,
  type World,
} from "./world.ts";

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world.close());

function messageOf(wire: string): Buffer {
  return Buffer.from(getTransactionDecoder().decode(Buffer.from(wire, "base64")).messageBytes);
}

describe("the official client pays through the official facilitator", () => {
  test("v2: verified, settled, the merchant's balance rises by exactly the price", async () => {
    const { net } = world;
    const payer = await world.payer();
    const accepted = requirements(net, { memo: "order-v2" });
    const payload = await payV2(net, payer, accepted);
    const before = net.tokenBalance(net.merchant);

    const verified = await facilitate(net, "verify", payload, accepted);
    expect(verified).toEqual({ status: 200, body: { isValid: true, payer: payer.address } });
    expect(net.tokenBalance(net.merchant)).toBe(before);

    const settled = await facilitate(net, "settle", payload, accepted);
    expect(settled.status).toBe(200);
    expect(settled.body).toMatchObject({ success: true, payer: payer.address, network: net.network });
    expect(net.tokenBalance(net.merchant)).toBe(before + PRICE);
    expect(net.tokenBalance(payer.address)).toBe(5_000_000n - PRICE);

    const { transaction } = payload.payload as { transaction: string };
    expect(net.transfersTo(net.merchant).at(-1)).toEqual({
      signature: settled.body["transaction"],
      payer: payer.address,
      amount: PRICE,
      memo: "[8] order-v2",
      messageHash: createHash("sha256").update(messageOf(transaction)).digest("hex"),
      err: null,
    });
  });

  test("v1: verified and settled on the network called solana", async () => {
    const { net } = world;
    const payer = await world.payer();
    const payload = await payV1(net, payer);
    const before = net.tokenBalance(net.merchant);
    const verified = await facilitate(net, "verify", payload, requirementsV1(net));
    expect(verified.body).toMatchObject({ isValid: true, payer: payer.address });
    const settled = await facilitate(net, "settle", payload, requirementsV1(net));
    expect(settled.body).toMatchObject({ success: true, network: "solana", payer: payer.address });
    expect(net.tokenBalance(net.merchant)).toBe(before + PRICE);
  });

  test("64 payments at once all settle, none twice", async () => {
    const { net } = world;
    const payer = await world.payer();
    const terms = Array.from({ length: 64 }, (_, index) => requirements(net, { memo: `parallel-${index}` }));
    const payloads = await Promise.all(terms.map((accepted) => payV2(net, payer, accepted)));
    const before = net.tokenBalance(net.merchant);
    const settled = await Promise.all(
      payloads.map((payload, index) => facilitate(net, "settle", payload, terms[index])),
    );
    expect(settled.filter(({ body }) => body["success"] !== true)).toEqual([]);
    expect(new Set(settled.map(({ body }) => body["transaction"])).size).toBe(64);
    expect(net.tokenBalance(net.merchant)).toBe(before + 64n * PRICE);
  });
});

describe("the same payment again", () => {
  test("is a duplicate for the facilitator and moves nothing", async () => {
    const { net } = world;
    const accepted = requirements(net);
    const payload = await payV2(net, await world.payer(), accepted);
    await facilitate(net, "settle", payload, accepted);
    const after = net.tokenBalance(net.merchant);

    const again = await facilitate(net, "settle", payload, accepted);
    expect(again.body).toMatchObject({ success: false, errorReason: "duplicate_settlement" });
    const verified = await facilitate(net, "verify", payload, accepted);
    expect(verified.body).toMatchObject({
      isValid: false,
      invalidReason: "invalid_exact_svm_transaction_simulation_failed",
      invalidMessage: 'Simulation failed: "AlreadyProcessed"',
    });
    expect(net.tokenBalance(net.merchant)).toBe(after);
  });

  test("32 copies at once land once", async () => {
    const { net } = world;
    const accepted = requirements(net, { memo: "copies" });
    const payload = await payV2(net, await world.payer(), accepted);
    const before = net.tokenBalance(net.merchant);
    const settled = await Promise.all(
      Array.from({ length: 32 }, () => facilitate(net, "settle", payload, accepted)),
    );
    expect(settled.filter(({ body }) => body["success"] === true)).toHaveLength(1);
    expect(net.tokenBalance(net.merchant)).toBe(before + PRICE);
  });
});

describe("what the chain tells of a payment", () => {
  test("the payer's account lists it with its memo, and the transaction shows what moved", async () => {
    const { net, rpc } = world;
    const payer = await world.payer();
    const accepted = requirements(net, { memo: "find me" });
    const settled = await facilitate(net, "settle", await payV2(net, payer, accepted), accepted);
    const name = signature(settled.body["transaction"] as string);

    const account = await tokenAccountOf(payer.address, address(net.asset));
    const [newest, ...older] = await rpc.getSignaturesForAddress(account).send();
    expect(newest).toMatchObject({
      signature: name,
      memo: "[7] find me",
      err: null,
      confirmationStatus: "confirmed",
    });
    expect(older).toHaveLength(1);

    const shown = await rpc
      .getTransaction(name, { encoding: "json", maxSupportedTransactionVersion: 0 })
      .send();
    const balanceOf = (owner: string, list: readonly unknown[] | undefined) =>
      (list as { owner: string; uiTokenAmount: { amount: string } }[]).find((each) => each.owner === owner)
        ?.uiTokenAmount.amount;
    expect(balanceOf(payer.address, shown?.meta?.preTokenBalances)).toBe("5000000");
    expect(balanceOf(payer.address, shown?.meta?.postTokenBalances)).toBe("4980000");
    const gained =
      BigInt(balanceOf(net.merchant, shown?.meta?.postTokenBalances) ?? "0") -
      BigInt(balanceOf(net.merchant, shown?.meta?.preTokenBalances) ?? "0");
    expect(gained).toBe(PRICE);
    expect(shown?.meta?.err).toBeNull();
    expect(shown?.meta?.fee).toBeGreaterThanOrEqual(10_000n);
    expect(shown?.meta?.logMessages?.join("\n")).toContain("find me");
  });
});

describe("a payment that cannot be", () => {
  test("a payer without enough USDC fails the simulation and nothing lands", async () => {
    const { net } = world;
    const payer = await generateKeyPairSigner();
    await net.fund(payer.address, PRICE - 1n);
    const accepted = requirements(net, { memo: "too poor" });
    const payload = await payV2(net, payer, accepted);
    const verified = await facilitate(net, "verify", payload, accepted);
    expect(verified.body).toMatchObject({
      isValid: false,
      invalidReason: "invalid_exact_svm_transaction_simulation_failed",
      invalidMessage: 'Simulation failed: {"InstructionError":["2",{"Custom":"1"}]}',
    });
    const settled = await facilitate(net, "settle", payload, accepted);
    expect(settled.body).toMatchObject({
      success: false,
      errorReason: "invalid_exact_svm_transaction_simulation_failed",
    });
    expect(net.tokenBalance(payer.address)).toBe(PRICE - 1n);
  });

  test("a payee without a USDC account fails it too, until the account is created", async () => {
    const { net } = world;
    const payTo = (await generateKeyPairSigner()).address;
    const payer = await world.payer();
    const accepted = { ...requirements(net), payTo };
    const payload = await payV2(net, payer, accepted);
    expect((await facilitate(net, "verify", payload, accepted)).body).toMatchObject({ isValid: false });
    await net.createTokenAccount(payTo);
    expect((await facilitate(net, "verify", payload, accepted)).body).toMatchObject({ isValid: true });
  });

  test("bytes that are no transaction are refused with the package's own word", async () => {
    const { net } = world;
    const accepted = requirements(net);
    const payload = { x402Version: 2, accepted, payload: { transaction: "AQID" } };
    const reason = "invalid_exact_svm_payload_transaction_could_not_be_decoded";
    expect((await facilitate(net, "verify", payload, accepted)).body).toMatchObject({
      invalidReason: reason,
    });
    expect((await facilitate(net, "settle", payload, accepted)).body).toMatchObject({ errorReason: reason });
  });

  test.each([
    ["not JSON", "{"],
    ["no payment", "{}"],
    ["a list", "[]"],
  ])("%s is a 400", async (_, body) => {
    const answer = await post(`${world.net.facilitatorUrl}/settle`, body);
    expect(answer).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
  });

  test("another network is a 400", async () => {
    const { net } = world;
    const network = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1" as const;
    const accepted = { ...requirements(net), network };
    const answer = await facilitate(net, "verify", { x402Version: 2, accepted, payload: {} }, accepted);
    expect(answer).toMatchObject({ status: 400, body: { error: { code: "unsupported_kind" } } });
  });
});

test("the facilitator offers both protocol versions with its fee payer", async () => {
  const { net } = world;
  const response = await fetch(`${net.facilitatorUrl}/supported`);
  const extra = { feePayer: net.feePayer };
  expect(await response.json()).toMatchObject({
    kinds: [
      { x402Version: 2, scheme: "exact", network: net.network, extra },
      { x402Version: 1, scheme: "exact", network: "solana", extra },
    ],
  });
});

test("the fee payer and the faucet pay the fees", async () => {
  const { net } = world;
  const answer = await rpcCall(net, "getBalance", [net.feePayer]);
  const { value } = answer["result"] as { value: number };
  expect(value).toBeLessThan(1_000_000 * 1e9);
  expect(value).toBeGreaterThan(999_999 * 1e9);
});
