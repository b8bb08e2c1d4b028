import { afterAll, beforeAll, expect, test } from "vitest";
import { mintKey } from "../../server/ledger/keys.ts";
import { chat } from "../keyed/keyed-shop.ts";
import { type Auditor, createAuditor, openForBusiness } from "./audit.ts";
import { openRedisShop, type RedisShop } from "./redis-shop.ts";

let place: RedisShop;
let auditor: Auditor;

beforeAll(async () => {
  place = await openRedisShop();
  await openForBusiness(place.shop.url);
  auditor = createAuditor(place.shop);
});
afterAll(() => place.close());

test("Redis is emptied: 503 to everybody; nobody is called a stranger, sold to again or told to sign anew", async () => {
  const { shop, admin } = place;
  const [used, unused] = [await shop.customer(1_000_000n), await shop.customer(1_000_000n)];
  const unknown = mintKey(shop.config.keys.prefixes[0] ?? "");
  const ask = async (secret: string) => {
    const headers = { ...used.headers, authorization: `Bearer ${secret}` };
    const init = { method: "POST", headers, body: chat("hello") };
    const response = await fetch(`${shop.url}/v1/chat/completions`, init);
    return { status: response.status, text: await response.text() };
  };
  expect(await ask(used.secret)).toMatchObject({ status: 200 });
  const served = await auditor.sell();
  expect(await served.send()).toMatchObject({ status: 200 });
  const settle = shop.facilitator.hold("settle");
  const waiting = await auditor.sell();
  const answer = fetch(waiting.url, {
    ...waiting.init,
    headers: { ...(waiting.init.headers as Record<string, string>), ...waiting.payment },
  });
  await settle.arrived;
  const calls = shop.upstream.calls.length;
  await admin.flushall();
  settle.release();

  expect((await answer).status).toBe(503);
  expect(await (await answer).text()).toContain("settlement_unknown");
  for (const secret of [used.secret, unused.secret, unknown.secret]) {
    const { status, text } = await ask(secret);
    expect(status).toBe(503);
    expect(text).toContain("ledger_unavailable");
  }
  for (const { url, init, payment } of [served, waiting, await auditor.sell()]) {
    const headers = { ...(init.headers as Record<string, string>), ...payment };
    const response = await fetch(url, { ...init, headers });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("2");
    expect(await response.text()).toContain("ledger_unavailable");
  }
  expect(shop.upstream.calls.length).toBe(calls);
  expect((await fetch(`${shop.url}/readyz`)).status).toBe(503);
  expect((await fetch(`${shop.url}/healthz`)).status).toBe(200);
});
