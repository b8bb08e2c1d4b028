import { generateKeyPairSigner } from "@solana/kit";
import { x402Client } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { reaches, refusalOf, since, tally } from "../e2e/shop-facts.ts";
import { createBuyer } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";

/** v1 carries no token, so whatever the chain shows of somebody can be made into a header that looks newly signed. */
let shop: Shop;
beforeAll(async () => {
  shop = await openShop({ yaml: 'routes: { "GET /report/:id": { upstream: default, price: "$0.05" } }' });
});
afterAll(() => shop.close());

type Buyer = Awaited<ReturnType<typeof createBuyer>>;

/** A transaction that the buyer once signed for another seller and another amount, as anybody reads it on the chain. */
async function copiedFromChain(buyer: Buyer): Promise<string> {
  const { localnet } = shop;
  const other = await generateKeyPairSigner();
  await localnet.fund(other.address, 1n);
  const supported = JSON.parse(await (await fetch(`${localnet.facilitatorUrl}/supported`)).text());
  const kind = supported.kinds.find((each: { x402Version: number }) => each.x402Version === 2);
  const accepted = {
    scheme: "exact",
    network: kind.network,
    amount: "1234",
    payTo: other.address,
    maxTimeoutSeconds: 60,
    asset: shop.config.asset,
    extra: { feePayer: kind.extra.feePayer },
  };
  const scheme = new ExactSvmScheme(buyer.signer, { rpcUrl: localnet.rpcUrl });
  const client = new x402Client().register("solana:*", scheme);
  const resource = { url: "https://other.example/x", description: "", mimeType: "" };
  const payload = await client.createPaymentPayload({ x402Version: 2, resource, accepts: [accepted] });
  const settled = await post(`${localnet.facilitatorUrl}/settle`, {
    x402Version: 2,
    paymentPayload: payload,
    paymentRequirements: payload.accepted,
  });
  expect(settled).toMatchObject({ success: true });
  const params = [
    settled.transaction,
    { encoding: "base64", commitment: "confirmed", maxSupportedTransactionVersion: 0 },
  ];
  const found = await post(localnet.rpcUrl, { jsonrpc: "2.0", id: 1, method: "getTransaction", params });
  return found.result.transaction[0];
}

async function post(url: string, body: unknown) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  return JSON.parse(await answer.text());
}

/** A payment whose settlement landed, while nobody heard of it. */
async function payUnheard(buyer: Buyer, url: string, payment: Awaited<ReturnType<Buyer["sign"]>>) {
  shop.facilitator.fail("settle", faults.dropAfter);
  expect(await refusalOf(await buyer.send(url, undefined, payment))).toEqual([503, "settlement_unknown"]);
}

test.each(["settled", "unknown"])(
  "an old transaction of somebody opens nothing of what they paid for (%s)",
  async (state) => {
    const victim = await createBuyer(shop);
    const copied = await copiedFromChain(victim);
    // Its blockhash is long forgotten.
    shop.localnet.warp(400);
    const url = `${shop.url}/report/${state}`;
    const payment = await victim.sign(url);
    await payUnheard(victim, url, payment);
    if (state === "settled") await reaches(shop, payment, "settled");
    const header = { x402Version: 1, scheme: "exact", network: "solana", payload: { transaction: copied } };
    const stolen = await fetch(url, {
      headers: { "X-PAYMENT": Buffer.from(JSON.stringify(header)).toString("base64") },
    });
    expect(stolen.status).toBe(402);
    expect((await victim.send(url, undefined, payment)).status).toBe(200);
  },
);

test("who signs anew in v1 is served by the first payment all the same", async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/report/anew`;
  const before = tally(shop);
  const first = await buyer.signV1(url);
  await payUnheard(buyer, url, first);
  await reaches(shop, first, "settled");
  expect((await buyer.send(url, undefined, await buyer.signV1(url))).status).toBe(200);
  expect(since(shop, before).transfers).toBe(1);
});
