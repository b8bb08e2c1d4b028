import { afterAll, beforeAll, expect, test } from "vitest";
import { createBuyer, post, proofOf } from "/work/main/test/support/buyer.ts";
import { openShop, type Shop } from "/work/main/test/support/shop.ts";

let shop: Shop;
beforeAll(async () => {
  const t = performance.now();
  shop = await openShop();
  console.log("open", performance.now() - t);
});
afterAll(async () => {
  const t = performance.now();
  await shop.close();
  console.log("close", performance.now() - t);
});
test("x", async () => {
  const buyer = await createBuyer(shop);
  let t = performance.now();
  const r = await buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi" }));
  console.log(r.status, await r.text(), performance.now() - t);
  console.log(proofOf(r));
  t = performance.now();
  const r1 = await buyer.fetchV1(`${shop.url}/agent`, post({ prompt: "Hi" }));
  console.log(r1.status, await r1.text(), performance.now() - t, [...r1.headers]);
  console.log(shop.lines);
});
