import { SOLANA_DEVNET_CAIP2, USDC_DEVNET_ADDRESS } from "@x402/svm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openShop, type Shop } from "../support/shop.ts";
import { openCustomer, transfersOf } from "./farebox-setting.ts";
import { DECLARATION, decode, OPTION, serve, startSeller } from "./seller.ts";
import { startStandInRpc } from "./stand-in-rpc.ts";

let shop: Shop;
beforeAll(async () => {
  shop = await openShop();
});
afterAll(() => shop.close());

test("two equal calls at once are two calls: both are paid for and answered", async () => {
  const who = await openCustomer(shop);
  const answers = await Promise.all([who.farebox.agent("Hi"), who.farebox.agent("Hi")]);
  expect(answers).toMatchObject([{ reply: "Hello there!" }, { reply: "Hello there!" }]);
  expect([transfersOf(who, shop), who.signed(), who.farebox.unfinished()]).toEqual([2, 2, []]);
});

test("two equal calls after one was aborted: no more is paid than is answered", async () => {
  const who = await openCustomer(shop);
  const settle = shop.facilitator.hold("settle");
  const controller = new AbortController();
  const aborted = who.farebox.agent("Hi", { signal: controller.signal });
  await settle.arrived;
  controller.abort(new Error("enough"));
  await expect(aborted).rejects.toThrow("enough");
  settle.release();
  const calls = await Promise.allSettled([who.farebox.agent("Hi"), who.farebox.agent("Hi")]);
  const answered = calls.filter(({ status }) => status === "fulfilled");
  // The gateway may give the orphaned payment to the other of two equal calls.
  const lost = calls.flatMap((call) => (call.status === "rejected" ? [call.reason.code] : []));
  expect(answered.length).toBeGreaterThan(0);
  expect(transfersOf(who, shop)).toBe(answered.length);
  expect(lost).toEqual(lost.map(() => "response_not_stored"));
  expect(who.farebox.unfinished()).toEqual([]);
});

test("calls of different prices at once: each signs its own price", async () => {
  const amounts = ["50000", "1", "30000", "2", "40000"];
  const who = await openCustomer(shop);
  const extra = { feePayer: shop.localnet.feePayer, memo: "a-memo" };
  const sellers = await Promise.all(
    amounts.map((amount) =>
      startSeller([serve("ok")], { ...DECLARATION, accepts: [{ ...OPTION, amount, extra }] }),
    ),
  );
  const answers = await Promise.all(sellers.map(({ url }) => who.farebox.fetch(url)));
  expect(answers.map(({ status }) => status)).toEqual(amounts.map(() => 200));
  const signed = sellers.map((seller) => decode(seller.payments()[0]).accepted.amount);
  expect(signed).toEqual(amounts);
  await Promise.all(sellers.map((seller) => seller.close()));
});

test("of several networks the one that is allowed is signed for", async () => {
  const rpc = await startStandInRpc(5_000_000n);
  rpc.mints.add(USDC_DEVNET_ADDRESS);
  const devnet = { ...OPTION, network: SOLANA_DEVNET_CAIP2, asset: USDC_DEVNET_ADDRESS } as const;
  const seller = await startSeller([serve("ok")], { ...DECLARATION, accepts: [OPTION, devnet] });
  const who = await openCustomer(shop, { networks: [SOLANA_DEVNET_CAIP2], rpcUrl: rpc.url });
  expect((await who.farebox.fetch(seller.url)).status).toBe(200);
  expect(decode(seller.payments()[0]).accepted.network).toBe(SOLANA_DEVNET_CAIP2);
  expect(await who.farebox.getBalance()).toBe(5_000_000n);
  await Promise.all([seller.close(), rpc.close()]);
});
