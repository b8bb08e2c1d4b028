import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

const SECRET = "webhook-secret-webhook-secret-webhook";

interface Event {
  readonly body: Readonly<Record<string, unknown>>;
  readonly isSigned: boolean;
}

const events: Event[] = [];
const receiver = createServer(async (req, res) => {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const [, time = "", mac = ""] =
    /^t=(\d+),v1=([0-9a-f]+)$/.exec(String(req.headers["farebox-signature"])) ?? [];
  const expected = createHmac("sha256", SECRET).update(`${time}.${text}`).digest("hex");
  events.push({ body: JSON.parse(text), isSigned: mac === expected });
  res.writeHead(204).end();
});
let shop: KeyedShop;
beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  const { port } = receiver.address() as AddressInfo;
  shop = await openKeyedShop({
    yaml: `alerts: { webhookUrl: "http://127.0.0.1:${port}/hook", allowPrivate: true, lowBalance: "$0.97" }\n`,
    env: { FAREBOX_WEBHOOK_SECRET: SECRET },
  });
});
afterAll(async () => {
  await shop.close();
  receiver.close();
});

test("a limit's 80 and 100 percent and a low balance are told once for each crossing, signed", async () => {
  const customer = await shop.customer(1_000_000n, { label: "reports", limit: 50_000n });
  for (let call = 0; call < 6; call += 1) {
    const answer = await fetch(`${shop.url}/v1/chat/completions`, {
      method: "POST",
      headers: customer.headers,
      body: chat("Hi", { model: "flat-test" }),
    });
    expect(answer.status).toBe(call < 5 ? 200 : 402);
    await answer.text();
  }
  await expect.poll(() => events.length, { timeout: 15_000, interval: 50 }).toBe(3);
  expect(events.every(({ isSigned }) => isSigned)).toBe(true);
  const told = new Map(events.map(({ body }) => [body["kind"], body]));
  expect(told.get("key_limit_80")).toMatchObject({
    account: customer.account,
    key: { id: customer.keyId, label: "reports" },
    amount_usd: "0.04",
    threshold_usd: "0.05",
  });
  expect(told.get("key_limit_100")).toMatchObject({ amount_usd: "0.05" });
  expect(told.get("low_balance")).toMatchObject({ key: null, amount_usd: "0.96", threshold_usd: "0.97" });
  expect(await shop.gateway.ledger.takeAlerts(10, 1_000)).toEqual([]);
});
