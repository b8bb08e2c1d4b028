import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createBuyer, post } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Child, startChild } from "./child-gateway.ts";
import {
  chunksOf,
  nothingPaid,
  provenOnChain,
  reaches,
  refusalOf,
  since,
  soldOnce,
  tally,
} from "./shop-facts.ts";

const PRICE = 20_000n;

let shop: Shop;
let child: Child;
beforeEach(async () => {
  shop = await openShop({ noGateway: true });
});
afterEach(async () => {
  await child.stop();
  await shop.close();
});

async function startGateway(drain: "1s" | "10m"): Promise<void> {
  await writeFile(
    join(shop.dataDir, "farebox.yaml"),
    shop.configText.replace("drain: 1s", `drain: ${drain}`),
  );
  child = startChild("server/main.js", { cwd: shop.dataDir, env: shop.env });
  await child.says('"listening"');
  await expect.poll(async () => (await fetch(`${shop.url}/readyz`)).status, { timeout: 10_000 }).toBe(200);
}

describe("SIGTERM", () => {
  test("lets a running call finish and be paid, refuses new connections, and exits with 0 at once after it", async () => {
    await startGateway("10m");
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "Hi" });
    const payment = await buyer.sign(`${shop.url}/agent`, init);
    const before = tally(shop);
    const held = shop.upstream.hold();
    const asked = buyer.send(`${shop.url}/agent`, init, payment);
    await held.arrived;
    child.kill("SIGTERM");
    await child.line({ signal: "SIGTERM" });
    await expect
      .poll(() =>
        fetch(`${shop.url}/healthz`, { headers: { connection: "close" } }).then(
          () => "open",
          () => "closed",
        ),
      )
      .toBe("closed");
    held.release();
    const response = await asked;
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ success: true });
    // Not after ten minutes: the client's kept-alive connection holds nobody up.
    expect(await child.exit).toBe(0);
    await provenOnChain(shop, response);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
    await shop.restart();
    await reaches(shop, payment, "delivered");
    expect((await buyer.send(`${shop.url}/agent`, init, payment)).status).toBe(200);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });

  test("breaks a model's stream off at the drain deadline, credits it, and exits with 0", async () => {
    await startGateway("1s");
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "Hi", stream: true });
    const payment = await buyer.sign(`${shop.url}/agent`, init);
    const script = shop.upstream.stream();
    const asked = buyer.send(`${shop.url}/agent`, init, payment);
    await script.delta("one");
    const response = await asked;
    const chunks = chunksOf(response);
    expect((await chunks.next()).value).toContain("one");
    const { aborted } = await script.arrived;
    child.kill("SIGTERM");
    // A stream that merely ended would look whole.
    const rest = async () => {
      for await (const _ of chunks);
    };
    await expect(rest()).rejects.toThrow();
    await aborted;
    expect(await child.exit).toBe(0);
    await provenOnChain(shop, response);
    await shop.restart();
    await reaches(shop, payment, "credited");
    expect(await shop.gateway.ledger.balance(`wallet:${buyer.address}`)).toBe(PRICE);
  });

  test("breaks a large answer off at the drain deadline, and credits it also to a client that reads more slowly than its source", async () => {
    await startGateway("1s");
    const buyer = await createBuyer(shop);
    const url = `${shop.url}/v1/chat/completions`;
    const init = post({ model: "gpt-test", messages: [{ role: "user", content: "Hi" }] });
    const payment = await buyer.sign(url, init);
    shop.upstream.next((_, res) => {
      res.writeHead(200, { "Content-Type": "application/json" });
      res.end(Buffer.alloc(64 * 1_048_576, " "));
    });
    const response = await buyer.send(url, init, payment);
    const chunks = chunksOf(response);
    await chunks.next();
    child.kill("SIGTERM");
    expect(await child.exit).toBe(0);
    const rest = async () => {
      for await (const _ of chunks);
    };
    await expect(rest()).rejects.toThrow();
    await shop.restart();
    await reaches(shop, payment, "credited");
    expect(await shop.gateway.ledger.balance(`wallet:${buyer.address}`)).toBe(PRICE);
  });

  test("refuses what has not begun to answer by the deadline, uncharged; later the same payment is served", async () => {
    await startGateway("1s");
    const buyer = await createBuyer(shop);
    const init = post({ prompt: "Hi" });
    const payment = await buyer.sign(`${shop.url}/agent`, init);
    const before = tally(shop);
    const held = shop.upstream.hold();
    const asked = buyer.send(`${shop.url}/agent`, init, payment);
    await held.arrived;
    child.kill("SIGTERM");
    const refused = await asked;
    expect(refused.headers.get("retry-after")).toBe("2");
    expect(await refusalOf(refused)).toEqual([503, "shutting_down"]);
    expect(await child.exit).toBe(0);
    expect(since(shop, before)).toEqual(nothingPaid(1));
    await shop.restart();
    expect((await buyer.send(`${shop.url}/agent`, init, payment)).status).toBe(200);
    expect(since(shop, before)).toMatchObject({ balance: PRICE, transfers: 1 });
  });
});
