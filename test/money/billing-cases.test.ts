import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { appendPaymentIdentifierToExtensions } from "@x402/extensions/payment-identifier";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { UsageFacts } from "../../server/ledger/call-ledger.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { startNode } from "../e2e/child-gateway.ts";
import { nothingPaid, refusalOf, since, soldOnce, tally } from "../e2e/shop-facts.ts";
import { type KeyedShop, openKeyedShop } from "../keyed/keyed-shop.ts";
import { built } from "../support/built.ts";
import { type Buyer, createBuyer, post } from "../support/buyer.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { becomes, credit, recordOf } from "./call.ts";
import { COLD_ACCOUNT, COLD_BUDGET, COLD_CALL, holdFor } from "./cold-ledger.ts";

/** The billing cases that users of other gateways reported, as far as they concern wallets; test/keyed has those of keys. */
const PRICE = 20_000n;
const COLD_CHILD = fileURLToPath(new URL("./cold-ledger-child.ts", import.meta.url));
const FLAT_MODEL = "models:\n  gpt-test: { upstream: default, model: upstream-model, maxOutput: 1000 }\n";
const ROUTES = `
routes:
  'GET /cheap': { upstream: default, price: "$0.01" }
  'POST /cheap': { upstream: default, price: "$0.01" }
  'GET /dear': { upstream: default, price: "$0.05" }
`;

let shop: KeyedShop;
let agent: string;
let buyer: Buyer;
beforeAll(async () => {
  shop = await openKeyedShop({ models: FLAT_MODEL, yaml: ROUTES });
  agent = `${shop.url}/agent`;
});
beforeEach(async () => {
  buyer = await createBuyer(shop);
});
afterAll(() => shop.close());

describe("case 12: a settlement whose outcome nobody knows", () => {
  test.each([
    ["a time-out", faults.hang, "timeout"],
    ["a 5xx", faults.status(500), "http_500"],
    ["a garbled reply", faults.garbage200, "malformed_reply"],
  ] as const)(
    "%s is recorded, answered with 503, never with 402, and served on the same payment",
    async (_, fault, reason) => {
      const init = post({ prompt: reason });
      const payment = await buyer.sign(agent, init);
      const before = tally(shop);
      const late = shop.facilitator.lateLanding("settle", fault);
      const first = await buyer.send(agent, init, payment);
      expect(first.status).toBe(503);
      expect(Number(first.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(first.headers.get("payment-required")).toBeNull();
      expect(await first.json()).toMatchObject({
        error: { code: "settlement_unknown", message: expect.stringContaining("the same payment") },
      });
      expect(await recordOf(shop, payment)).toMatchObject({ state: "unknown", reason });

      await late.release();
      // The reconciler may be asking the chain at this moment; then it is 503 or 409 once more.
      const retry = async () => (await buyer.send(agent, init, payment)).status;
      await expect.poll(retry, { timeout: 8_000 }).toBe(200);
      await becomes(shop, payment, { state: "delivered" });
      expect(since(shop, before)).toMatchObject({ transfers: 1, settled: 1, balance: PRICE });
    },
  );
});

describe("case 13: one signed transaction on 50 requests at once", () => {
  test("one is served, the others wait; a restart changes nothing", async () => {
    const init = post({ prompt: "fifty" });
    const payment = await buyer.sign(agent, init);
    const before = tally(shop);
    const held = shop.upstream.hold();
    const statuses: number[] = [];
    const copies = Array.from({ length: 50 }, async () => {
      const { status } = await buyer.send(agent, init, payment);
      // The one at the upstream waits until each of the others has met it.
      if (statuses.push(status) === 49) held.release();
    });
    await Promise.all(copies);
    expect(statuses.toSorted()).toEqual([200, ...Array.from({ length: 49 }, () => 409)]);
    await becomes(shop, payment, { state: "delivered" });
    await shop.restart();
    expect((await buyer.send(agent, init, payment)).status).toBe(200);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });
});

describe("case 14: payment-identifier", () => {
  const named = (id: string) => (declared: Record<string, unknown>) =>
    void appendPaymentIdentifierToExtensions(declared, id);

  test("the same request gets the stored answer, another one 409", async () => {
    const id = `order_${randomUUID()}`;
    const [init, other] = [post({ prompt: "named" }), post({ prompt: "another" })];
    const first = await buyer.sign(agent, init, named(id));
    const second = await buyer.sign(agent, init, named(id));
    const third = await buyer.sign(agent, other, named(id));
    const before = tally(shop);
    const answer = await (await buyer.send(agent, init, first)).text();
    await becomes(shop, first, { state: "delivered" });
    expect(await (await buyer.send(agent, init, second)).text()).toBe(answer);
    expect(await refusalOf(await buyer.send(agent, other, third))).toEqual([
      409,
      "payment_identifier_conflict",
    ]);
    expect(since(shop, before)).toEqual(soldOnce(PRICE));
  });

  test("required and missing: 400, and nothing is paid", async () => {
    await shop.restart("payment: { paymentIdentifier: required }");
    const init = post({ prompt: "nameless" });
    const before = tally(shop);
    expect(await refusalOf(await buyer.fetch(agent, init))).toEqual([400, "payment_identifier_required"]);
    expect(since(shop, before)).toEqual(nothingPaid(0));
    await shop.restart(ROUTES);
  });
});

describe("case 15: a payment where it does not belong", () => {
  test.each([
    ["a dearer route", "/dear", { method: "GET" }],
    ["another method of the same price", "/cheap", { method: "POST" }],
    ["another spelling of its path", "/cheap/", { method: "GET" }],
  ] as const)("%s: refused, and the payment is not used up", async (_, path, init) => {
    const payment = await buyer.sign(`${shop.url}/cheap`, { method: "GET" });
    const before = tally(shop);
    const refused = await buyer.send(shop.url + path, init, payment);
    expect(refused.status).toBe(402);
    expect(refused.headers.get("payment-required")).not.toBeNull();
    expect(since(shop, before)).toEqual(nothingPaid(0));
    expect(await recordOf(shop, payment)).toBeUndefined();
  });

  test("another body, once it has bought one: refused", async () => {
    const payment = await buyer.sign(agent, post({ prompt: "one" }));
    expect((await buyer.send(agent, post({ prompt: "one" }), payment)).status).toBe(200);
    const before = tally(shop);
    const other = await buyer.send(agent, post({ prompt: "two" }), payment);
    expect(await refusalOf(other)).toEqual([409, "payment_already_used"]);
    expect(since(shop, before)).toEqual(nothingPaid(0));
  });
});

describe("case 16: settled, and then the upstream fails", () => {
  test("a credit on the wallet's account, once, that can be seen and spent", async () => {
    const url = `${shop.url}/v1/chat/completions`;
    const init = post({ model: "gpt-test", stream: true, messages: [{ role: "user", content: "Hi" }] });
    const payment = await buyer.sign(url, init);
    const before = tally(shop);
    const stream = shop.upstream.stream();
    const answer = buyer.send(url, init, payment);
    await stream.delta("Once upon");
    const { status, body } = await answer;
    expect(status).toBe(200);
    await stream.breakOff();
    await expect(new Response(body).text()).rejects.toThrow();
    await becomes(shop, payment, { state: "credited" });
    expect(since(shop, before)).toMatchObject({ transfers: 1, settled: 1 });

    for (let again = 0; again < 3; again += 1) {
      expect(await refusalOf(await buyer.send(url, init, payment))).toEqual([409, "payment_credited"]);
    }
    await shop.restart();
    await shop.gateway.payments.reconciler.sweep();
    expect(await credit(shop, buyer.address)).toBe(PRICE);
    const account = `wallet:${buyer.address}`;
    expect(await shop.gateway.ledger.accounts()).toContainEqual(
      expect.objectContaining({ id: account, balance: PRICE }),
    );
    const { headers } = await shop.keyFor(account);
    const spent = await fetch(url, { ...init, headers });
    expect(await spent.text()).toContain("[DONE]");
    await expect.poll(() => credit(shop, buyer.address)).toBe(0n);
    expect(await shop.gateway.ledger.checkAccounts()).toEqual([]);
  });
});

describe("case 17: with stream and without are two requests", () => {
  test("a payment that bought one does not replay as the other", async () => {
    const [whole, streamed] = [post({ prompt: "both" }), post({ prompt: "both", stream: true })];
    const payment = await buyer.sign(agent, whole);
    const answer = await (await buyer.send(agent, whole, payment)).text();
    await becomes(shop, payment, { state: "delivered" });
    expect(await refusalOf(await buyer.send(agent, streamed, payment))).toEqual([
      409,
      "payment_already_used",
    ]);
    expect(await (await buyer.send(agent, whole, payment)).text()).toBe(answer);
  });
});

describe("the ledger", () => {
  let directory: string;
  let path: string;
  let opened: Ledger[];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "farebox-cold-"));
    path = join(directory, "ledger.sqlite");
    opened = [];
  });
  afterEach(async () => {
    await Promise.all(opened.map((ledger) => ledger.close()));
    await rm(directory, { recursive: true, force: true });
  });

  async function open(): Promise<Ledger> {
    const onFatal = (error: Error) => {
      throw error;
    };
    const ledger = await openSqliteLedger({ path, network: "local", onFatal });
    opened.push(ledger);
    return ledger;
  }

  describe("case 2: several processes on a cold ledger", () => {
    test("fill the account once, and spend it once", { timeout: 90_000 }, async () => {
      const children = Array.from({ length: 4 }, () =>
        startNode(
          ["--import", import.meta.resolve("tsx"), COLD_CHILD, built("server/ledger/sqlite.js"), path],
          {
            cwd: directory,
            env: {},
          },
        ),
      );
      expect(await Promise.all(children.map(({ exit }) => exit))).toEqual([0, 0, 0, 0]);
      const admitted = children.map((child) => Number(/admitted (\d+)/.exec(child.output())?.[1]));
      expect(admitted.reduce((sum, count) => sum + count, 0)).toBe(10);
      const ledger = await open();
      expect(await ledger.account(COLD_ACCOUNT)).toMatchObject({ balance: COLD_BUDGET, held: COLD_BUDGET });
      expect(await ledger.checkAccounts()).toEqual([]);
    });
  });

  describe("case 4: a change that was applied, its answer lost, sent again", () => {
    const usage: UsageFacts = {
      tier: "internal",
      account: COLD_ACCOUNT,
      keyId: undefined,
      keyLabel: undefined,
      payer: undefined,
      route: "POST /agent",
      model: undefined,
      provider: undefined,
      promptTokens: undefined,
      completionTokens: undefined,
      estimated: false,
      held: COLD_CALL,
      upstreamCost: undefined,
      status: 200,
      upstreamStatus: 200,
      ms: 1,
      transaction: undefined,
      notCharged: undefined,
    };

    test("is applied once: credit, hold, capture, release", async () => {
      const [first, second] = [await open(), await open()];
      const capture = {
        account: COLD_ACCOUNT,
        keyId: undefined,
        usage,
        keep: undefined,
        lowBalance: undefined,
        idempotency: undefined,
      };
      const [taken, freed] = [randomBytes(16).toString("hex"), randomBytes(16).toString("hex")];
      const states = [];
      for (const ledger of [first, second]) {
        await ledger.createAccount(COLD_ACCOUNT, "Cold");
        await ledger.creditAccount(COLD_ACCOUNT, COLD_BUDGET, "opening");
      }
      for (const ledger of [first, second]) {
        for (const id of [taken, freed]) {
          expect(await ledger.hold(holdFor(id, COLD_CALL))).toMatchObject({ outcome: "held" });
        }
        states.push(await ledger.account(COLD_ACCOUNT));
      }
      for (const ledger of [first, second]) {
        expect(await ledger.capture({ ...capture, id: taken, cost: 7_000n })).toMatchObject({
          charged: 7_000n,
        });
        await ledger.releaseHold(freed, { ...usage, notCharged: "client_left" });
        states.push(await ledger.account(COLD_ACCOUNT));
      }
      expect(states).toMatchObject([
        { balance: COLD_BUDGET, held: 2n * COLD_CALL },
        { balance: COLD_BUDGET, held: 2n * COLD_CALL },
        { balance: COLD_BUDGET - 7_000n, held: 0n },
        { balance: COLD_BUDGET - 7_000n, held: 0n },
      ]);
      expect(await first.usage({ account: COLD_ACCOUNT, limit: 10 })).toHaveLength(2);
      expect(await first.journal(COLD_ACCOUNT)).toHaveLength(2);
      expect(await first.checkAccounts()).toEqual([]);
    });
  });
});
