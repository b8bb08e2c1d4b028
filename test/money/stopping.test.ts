import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPaywall } from "../../server/index.ts";
import { refusalOf } from "../e2e/shop-facts.ts";
import { deferred } from "../middleware/wire.ts";
import { createBuyer, post } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { becomes, credit, startCall } from "./call.ts";

const PRICE = 20_000n;

let shop: Shop;
beforeAll(async () => {
  shop = await openShop({
    yaml: `
routes:
  "GET /file": { upstream: default, price: "$0.02", description: A file. }
  "GET /news": { upstream: default, price: "$0.02", description: News without an end. }
`,
  });
});
afterAll(() => shop.close());

describe("the drain deadline passes", () => {
  test.each([
    ["of a length that it tells", { "content-length": "1000000" }],
    ["in chunks, which would look whole if it were ended", undefined],
  ])("a finite answer is broken off, and credited: %s", async (_what, length) => {
    const buyer = await createBuyer(shop);
    const url = `${shop.url}/file`;
    const payment = await buyer.sign(url);
    shop.upstream.next((_call, res) => {
      res.writeHead(200, { "content-type": "application/pdf", ...length });
      res.write(Buffer.alloc(400_000));
    });
    const answer = await buyer.send(url, undefined, payment);
    const read = answer.arrayBuffer();
    const broken = expect(read).rejects.toThrow();
    await shop.restart();
    await broken;
    await becomes(shop, payment, { state: "credited" });
    expect(await credit(shop, buyer.address)).toBe(PRICE);
    expect(await refusalOf(await buyer.send(url, undefined, payment))).toEqual([409, "payment_credited"]);
  });

  test("an endless stream is ended cleanly, is delivered, and is not replayed as if it were whole", async () => {
    const buyer = await createBuyer(shop);
    const url = `${shop.url}/news`;
    const payment = await buyer.sign(url);
    shop.upstream.next((_call, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write("data: the beginning\n\n");
    });
    const read = (await buyer.send(url, undefined, payment)).text();
    await shop.restart();
    expect(await read).toContain("the beginning");
    await becomes(shop, payment, { state: "delivered" });
    expect(await credit(shop, buyer.address)).toBe(0n);
    expect(await refusalOf(await buyer.send(url, undefined, payment))).toEqual([409, "response_not_stored"]);
  });

  test.each(["/v1/chat/completions", "/agent"])(
    "a model's stream, which has an end of its own, is broken off and credited: POST %s",
    async (path) => {
      const buyer = await createBuyer(shop);
      const url = shop.url + path;
      const asked =
        path === "/agent"
          ? { prompt: "Hi" }
          : { model: "gpt-test", messages: [{ role: "user", content: "Hi" }] };
      const init = post({ ...asked, stream: true });
      const payment = await buyer.sign(url, init);
      const stream = shop.upstream.stream();
      const call = startCall(url, init, payment);
      await stream.delta("the beginning");
      const broken = expect((await call.answer).text()).rejects.toThrow();
      await shop.restart();
      await broken;
      await becomes(shop, payment, { state: "credited" });
      expect(await credit(shop, buyer.address)).toBe(PRICE);
      expect(await refusalOf(await buyer.send(url, init, payment))).toEqual([409, "payment_credited"]);
    },
  );
});

test("a paywall that is closed lets the call that runs finish", async () => {
  const paywall = await createPaywall({
    network: "solana",
    payTo: shop.localnet.merchant,
    publicUrl: "http://127.0.0.1:1",
    facilitator: shop.facilitator.url,
    rpcUrl: shop.localnet.rpcUrl,
    memoSecret: "test-secret-test-secret-test-secret-1",
    dataDir: join(shop.dataDir, "middleware"),
    logLevel: "silent",
  });
  const running = deferred<() => void>();
  const guard = paywall({ price: "$0.02" });
  const server = createServer((req, res) =>
    guard(req, res, () => running.resolve(() => res.end("finished"))),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  await expect.poll(async () => (await fetch(url)).status, { timeout: 5_000 }).toBe(402);
  const buyer = await createBuyer(shop);
  const payment = await buyer.sign(url);
  const before = shop.localnet.transfersTo(shop.localnet.merchant).length;
  const call = startCall(url, {}, payment);
  const finish = await running.promise;
  const closed = paywall.close();
  finish();
  const answer = await call.answer;
  expect([answer.status, await answer.text()]).toEqual([200, "finished"]);
  await closed;
  expect(shop.localnet.transfersTo(shop.localnet.merchant).length - before).toBe(1);
  server.close();
  server.closeAllConnections();
});
