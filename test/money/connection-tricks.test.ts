import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { since, tally } from "../e2e/shop-facts.ts";
import { createBuyer, post } from "../support/buyer.ts";
import { answers } from "../support/model-upstream.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { becomes, credit, openLine, recordOf, requestOf, startCall } from "./call.ts";

const PRICE = 20_000n;
const unhandled: unknown[] = [];
const note = (error: unknown): void => void unhandled.push(error);

let shop: Shop;
let agent: string;
beforeAll(async () => {
  process.on("unhandledRejection", note);
  shop = await openShop({
    yaml: `
payment: { settleBy: 1s }
routes:
  "GET /failing": { upstream: default, price: "$0.02", description: Fails slowly. }
`,
  });
  agent = `${shop.url}/agent`;
});
afterEach(async () => {
  // A rejection is reported only when the queue of microtasks is empty.
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled.splice(0)).toEqual([]);
});
afterAll(async () => {
  await shop.close();
  process.off("unhandledRejection", note);
});

const NOISE = [
  ["bytes that are not HTTP", "\0\r\n\r\n"],
  ["headers beyond the limit", `GET / HTTP/1.1\r\nhost: shop.test\r\nx: ${"a".repeat(40_000)}\r\n\r\n`],
  [
    "a CONNECT, which Node answers with nothing but the end",
    "CONNECT a:1 HTTP/1.1\r\nhost: shop.test\r\n\r\n",
  ],
] as const;

describe("the payer breaks its own connection", () => {
  test.each(NOISE)("near the end of a stream, with %s: delivered, no credit", async (_name, noise) => {
    const buyer = await createBuyer(shop);
    const init = post({ model: "gpt-test", stream: true, messages: [{ role: "user", content: "Hi" }] });
    const payment = await buyer.sign(`${shop.url}/v1/chat/completions`, init);
    const stream = shop.upstream.stream();
    const line = openLine(shop);
    line.socket.write(requestOf("/v1/chat/completions", init, payment));
    await stream.delta("nearly all");
    await line.says("nearly all");
    line.socket.write(noise);
    await line.closed;
    await becomes(shop, payment, { state: "delivered" });
    await shop.gateway.payments.reconciler.sweep();
    expect(await credit(shop, buyer.address)).toBe(0n);
  });

  test.each(NOISE)(
    "while the answer waits, with %s: not settled, and the payer pays upfront next",
    async (_name, noise) => {
      const buyer = await createBuyer(shop);
      const init = post({ prompt: "Hi" });
      const payment = await buyer.sign(agent, init);
      const before = tally(shop);
      const held = shop.upstream.hold();
      const line = openLine(shop);
      line.socket.write(requestOf("/agent", init, payment));
      await held.arrived;
      line.socket.write(noise);
      await line.closed;
      await becomes(shop, payment, { state: "released", reason: "client_left" });
      held.release();
      expect(since(shop, before).settled).toBe(0);

      const again = await buyer.sign(agent, init);
      const settle = shop.facilitator.hold("settle");
      const call = startCall(agent, init, again);
      await settle.arrived;
      expect(since(shop, before).upstreamCalls).toBe(1);
      settle.release();
      expect((await call.answer).status).toBe(200);
    },
  );
});

describe("two paid requests written at once on one connection", () => {
  test("the second is refused and claims nothing; the first is answered", async () => {
    const buyer = await createBuyer(shop);
    const [one, two] = [post({ prompt: "one" }), post({ prompt: "two" })];
    const [first, second] = [await buyer.sign(agent, one), await buyer.sign(agent, two)];
    const line = openLine(shop);
    line.socket.write(requestOf("/agent", one, first) + requestOf("/agent", two, second));
    await line.closed;
    expect([...line.text().matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status)).toEqual([
      "200",
      "400",
    ]);
    expect(line.text().split("HTTP/1.1 400")[1]).toMatch(/connection: close/i);
    expect(await recordOf(shop, second)).toBeUndefined();
    await becomes(shop, first, { state: "delivered" });
  });

  test("the client that leaves during the first is not charged, and no gate stays open", async () => {
    const buyer = await createBuyer(shop);
    const [one, two] = [post({ prompt: "one" }), post({ prompt: "two" })];
    const [first, second] = [await buyer.sign(agent, one), await buyer.sign(agent, two)];
    const before = tally(shop);
    const held = shop.upstream.hold();
    const line = openLine(shop);
    line.socket.write(requestOf("/agent", one, first) + requestOf("/agent", two, second));
    await held.arrived;
    line.socket.destroy();
    await becomes(shop, first, { state: "released", leased: false });
    held.release();
    await expect.poll(() => shop.gateway.payments.paywall.active).toBe(0);
    expect(await recordOf(shop, second)).toBeUndefined();
    expect(since(shop, before)).toMatchObject({ settled: 0, transfers: 0, upstreamCalls: 1 });
  });
});

describe("the settle-by deadline and a handler that fails", () => {
  test("the settlement under way fails too: one answer, nothing charged", async () => {
    const buyer = await createBuyer(shop, PRICE);
    const [one, two] = [post({ prompt: "fails" }), post({ prompt: "empties the wallet" })];
    const [first, second] = [await buyer.sign(agent, one), await buyer.sign(agent, two)];
    const settle = shop.facilitator.hold("settle");
    const held = shop.upstream.hold();
    const line = openLine(shop);
    line.socket.write(requestOf("/agent", one, first));
    await settle.arrived;
    // With this the wallet is empty, so that the chain refuses the payment whose settlement waits.
    expect((await buyer.send(agent, two, second)).status).toBe(200);
    const before = tally(shop);
    held.release(answers.failure(500));
    settle.release();
    await line.says("HTTP/1.1 ");
    await becomes(shop, first, { state: "released", leased: false });
    line.socket.end();
    await line.closed;
    expect(line.text().match(/HTTP\/1\.1 \d{3}/g)).toEqual(["HTTP/1.1 402"]);
    expect(since(shop, before)).toMatchObject({ transfers: 0, balance: 0n });
    expect(await credit(shop, buyer.address)).toBe(0n);
  });

  test("after the release the deadline settles nothing", async () => {
    const buyer = await createBuyer(shop);
    const url = `${shop.url}/failing`;
    const payment = await buyer.sign(url);
    const before = tally(shop);
    let finish = (): void => undefined;
    shop.upstream.next((_call, res) => {
      res.writeHead(500).write("broken");
      finish = () => res.end();
    });
    const answer = await buyer.send(url, undefined, payment);
    expect(answer.status).toBeGreaterThanOrEqual(500);
    await becomes(shop, payment, { state: "released" });
    // A later call's deadline has passed: so has this one's.
    const other = await buyer.sign(agent, post({ prompt: "later" }));
    const settle = shop.facilitator.nextCall("settle");
    const held = shop.upstream.hold();
    const call = startCall(agent, post({ prompt: "later" }), other);
    await settle;
    held.release();
    expect((await call.answer).status).toBe(200);
    finish();
    await answer.text();
    expect(since(shop, before)).toMatchObject({ settled: 1, transfers: 1 });
    expect((await recordOf(shop, payment))?.state).toBe("released");
  });
});
