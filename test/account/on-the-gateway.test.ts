import { afterAll, beforeAll, expect, test } from "vitest";
import { type Buyer, createBuyer, post, proofOf } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Browser, type Gate, gateAt, refusal, SESSION_KEY } from "./account-world.ts";

let shop: Shop;
let gate: Gate;
let buyer: Buyer;
let browser: Browser;
beforeAll(async () => {
  shop = await openShop({ env: { FAREBOX_SESSION_KEY: SESSION_KEY } });
  gate = gateAt(shop.url, shop.config);
  buyer = await createBuyer(shop);
  browser = await gate.signIn(buyer.signer);
});
afterAll(() => shop.close());

const CHAT = { model: "gpt-test", messages: [{ role: "user", content: "Hi" }] };

test("a wallet that pays by the call finds its receipt, with the transaction, on its account", async () => {
  const paid = await buyer.fetch(`${shop.url}/v1/chat/completions`, post(CHAT));
  expect(paid.status).toBe(200);
  const { transaction } = proofOf(paid);
  await paid.text();
  await expect
    .poll(async () => (await browser.call("GET", "/account/usage?model=gpt-test")).json["usage"])
    .toMatchObject([
      {
        account: `wallet:${buyer.address}`,
        tier: "x402",
        payer: buyer.address,
        transaction,
        charged_micro_usd: "20000",
        status: 200,
        upstream_status: 200,
      },
    ]);
});

test("a key of the wallet's own buys calls from the wallet's balance until it is revoked", async () => {
  const made = await browser.call("POST", "/account/keys", { body: { label: "agent" } });
  expect(made.status).toBe(201);
  await shop.gateway.ledger.creditAccount(`wallet:${buyer.address}`, 50_000n, "top-up");
  const ask = async () => {
    const response = await fetch(`${shop.url}/v1/chat/completions`, {
      ...post(CHAT),
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${String(made.json["key"])}`,
        ...{ cookie: browser.headers["cookie"] ?? "", "x-csrf-token": browser.csrfToken },
      },
    });
    await response.text();
    return response;
  };
  const first = await ask();
  expect(first.status).toBe(200);
  expect((await browser.call("GET", "/account")).json).toMatchObject({ balance_micro_usd: "30000" });
  expect((await browser.call("GET", "/account/journal")).json["journal"]).toMatchObject([
    { kind: "capture", amount_micro_usd: "-20000" },
    { kind: "credit", amount_micro_usd: "50000" },
  ]);
  await browser.call("DELETE", `/account/keys/${String(made.json["id"])}`);
  expect((await ask()).status).toBe(401);
  const seen = JSON.stringify(shop.upstream.calls);
  for (const secret of [...Object.values(browser.cookies), browser.csrfToken, String(made.json["key"])]) {
    expect(seen).not.toContain(secret);
    expect(JSON.stringify(shop.lines)).not.toContain(secret);
  }
});

test("no mount but the account's sets a cookie, and a session pays for nothing", async () => {
  const { headers } = browser;
  const replies = [
    await gate.call("POST", "/v1/chat/completions", { body: CHAT, headers }),
    await gate.call("POST", "/agent", { body: { prompt: "Hi" }, headers }),
    await gate.call("GET", "/v1/models", { headers }),
    await gate.call("GET", "/v1/key", { headers }),
    await gate.call("GET", "/healthz", { headers }),
    await gate.call("GET", "/openapi.json", { headers }),
    await gate.call("GET", "/nothing", { headers }),
  ];
  expect(replies.map(({ status }) => status)).toEqual([402, 402, 200, 401, 200, 200, 404]);
  for (const reply of replies) expect(reply.headers.getSetCookie()).toEqual([]);
  const bearer = { authorization: `Bearer ${browser.cookies["__Host-farebox_session"]}` };
  expect((await gate.call("POST", "/v1/chat/completions", { body: CHAT, headers: bearer })).status).toBe(401);
});

test("without a session key there is no account API, and the log says so", async () => {
  const off = await openShop();
  const line = off.lines.find(({ msg }) => msg === "the account API is off: FAREBOX_SESSION_KEY is not set");
  const there = gateAt(off.url, off.config);
  const replies = [
    await there.call("GET", "/account"),
    await there.call("POST", "/auth/challenge", { body: {} }),
  ];
  await off.close();
  expect(line).toBeDefined();
  for (const reply of replies) expect(refusal(reply).slice(0, 2)).toEqual([404, "not_found"]);
});
