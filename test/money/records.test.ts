import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import type { SupportedKind } from "../../facilitator-client/types.ts";
import { LedgerFault } from "../../server/ledger/ledger.ts";
import { createOfferedTerms } from "../../server/payment/terms.ts";
import { refusalOf, since, soldOnce, tally } from "../e2e/shop-facts.ts";
import { createBuyer, post } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { becomes, credit } from "./call.ts";

const PRICE = 20_000n;

let shop: Shop;
let agent: string;
beforeAll(async () => {
  shop = await openShop({
    yaml: `
routes:
  "GET /events": { upstream: default, price: "$0.02", description: Events. }
payment: { storeResponseMax: 1MiB }
`,
  });
  agent = `${shop.url}/agent`;
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => shop.close());

test("an event stream whose last event lacks its blank line is charged", async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/events`;
  const payment = await buyer.sign(url);
  const before = tally(shop);
  shop.upstream.next((_call, res) => {
    res.writeHead(200, { "content-type": "text/event-stream" }).end('data: {"answer":"all of it"}\n');
  });
  const answer = await buyer.send(url, undefined, payment);
  expect(await answer.text()).toContain("all of it");
  await becomes(shop, payment, { state: "delivered" });
  expect(since(shop, before)).toEqual(soldOnce(PRICE));
});

test("an answer larger than the gate is delivered once all of it has left, and kept for its retry", async () => {
  const buyer = await createBuyer(shop);
  const url = `${shop.url}/events`;
  const payment = await buyer.sign(url);
  const before = tally(shop);
  const large = "x".repeat(400_000);
  shop.upstream.next((_call, res) => {
    res.writeHead(200, { "content-type": "text/plain" }).end(large);
  });
  for (let time = 0; time < 2; time += 1) {
    const answer = await buyer.send(url, undefined, payment);
    expect(await answer.text()).toBe(large);
    await becomes(shop, payment, { state: "delivered" });
  }
  expect(since(shop, before)).toEqual(soldOnce(PRICE));
});

test("a feePayer replaced between a 402 and its payment is still good, for as long as the token is", () => {
  const supported = (feePayer: string): readonly SupportedKind[] => [
    { x402Version: 2, scheme: "exact", network: "n:1", feePayer, signers: [] },
  ];
  let kinds = supported("old");
  let now = 0;
  const source = createOfferedTerms({
    merchant: { network: "n:1", networkV1: undefined, asset: "m", payTo: "p", maxTimeoutSeconds: 60 },
    kinds: () => kinds,
    now: () => now,
    memoryMs: 300_000,
  });
  expect(source.current()?.feePayer).toBe("old");
  now = 200_000;
  kinds = supported("new");
  expect(source.current()?.feePayer).toBe("new");
  now = 400_000;
  expect(source.knowsFeePayer("old")).toBe(true);
  now = 500_001;
  expect(source.knowsFeePayer("old")).toBe(false);
  expect(source.knowsFeePayer("new")).toBe(true);
});

test("a proxy's page with 403 on settle proves nothing: not served, and the payment is watched", async () => {
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "403" });
  const payment = await buyer.sign(agent, init);
  const page = { kind: "answer", status: 403, body: "<html>Forbidden</html>", type: "text/html" } as const;
  shop.facilitator.fail("settle", page);
  const [status] = await refusalOf(await buyer.send(agent, init, payment));
  expect(status).toBe(503);
  await becomes(shop, payment, { state: "released", watched: true });
});

test("a delivery that the ledger fails to record once is recorded after all, and not credited later", async () => {
  const buyer = await createBuyer(shop);
  const init = post({ prompt: "fault" });
  const payment = await buyer.sign(agent, init);
  const deliver = vi.spyOn(shop.gateway.ledger, "deliver").mockRejectedValueOnce(new LedgerFault("injected"));
  expect((await buyer.send(agent, init, payment)).status).toBe(200);
  await becomes(shop, payment, { state: "delivered" });
  expect(deliver).toHaveBeenCalledTimes(2);
  await shop.gateway.payments.reconciler.sweep();
  expect(await credit(shop, buyer.address)).toBe(0n);
});
