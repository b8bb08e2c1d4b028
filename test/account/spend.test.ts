import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSpend } from "../../server/account/spend.ts";
import { usageFacts } from "../admin/admin-world.ts";
import { type Buyer, createBuyer, post } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import {
  type AccountWorld,
  type Browser,
  gateAt,
  newWallet,
  openAccountWorld,
  refusal,
  SESSION_KEY,
} from "./account-world.ts";

const DAY = 86_400_000;
const CREDIT = { kind: "credit", key: false, least: 1n, most: 1n } as const;

interface Group {
  readonly charged_usd: string;
  readonly charged_micro_usd: string;
  readonly paid_usd: string;
  readonly paid_micro_usd: string;
  readonly calls: number;
  readonly [field: string]: unknown;
}

interface SpendAnswer {
  readonly from: string;
  readonly to: string;
  readonly today: Group;
  readonly days: readonly Group[];
  readonly models: readonly Group[];
  readonly keys: readonly Group[];
  readonly complete: boolean;
}

async function spendOf(browser: Browser, query = ""): Promise<SpendAnswer> {
  const { status, json } = await browser.call("GET", `/account/spend${query}`);
  expect(status).toBe(200);
  return json as unknown as SpendAnswer;
}

function sums(charged: string, paid: string, calls: number) {
  const usd = (micro: string) => `0.${micro.padStart(6, "0").replace(/0{1,4}$/, "")}`;
  return {
    ...{ charged_usd: usd(charged), charged_micro_usd: charged },
    ...{ paid_usd: usd(paid), paid_micro_usd: paid, calls },
  };
}

function total(groups: readonly Group[], which: "charged" | "paid"): bigint {
  return groups.reduce((sum, group) => sum + BigInt(String(group[`${which}_micro_usd`])), 0n);
}

describe("on a gateway that sells", () => {
  let shop: Shop;
  let buyer: Buyer;
  let browser: Browser;
  beforeAll(async () => {
    shop = await openShop({
      env: { FAREBOX_SESSION_KEY: SESSION_KEY },
      models: `models:
  gpt-test: { upstream: default, model: upstream-model, maxOutput: 1000 }
  metered: { upstream: default, model: upstream-model, maxOutput: 50, input: "$7.77/1M", output: "$13.13/1M" }
`,
      yaml: `topup: { min: "$0.01" }\n`,
    });
    buyer = await createBuyer(shop);
    browser = await gateAt(shop.url, shop.config).signIn(buyer.signer);
  });
  afterAll(() => shop.close());

  test("what the balance bore is the journal's to the micro-dollar, what the wallet paid the chain's, and a top-up is neither", async () => {
    const topUp = await buyer.fetch(`${shop.url}/topup`, post({ amount: "0.50" }));
    expect(topUp.status).toBe(200);
    const made = await browser.call("POST", "/account/keys", { body: { label: "agent" } });
    const keyed = async (model: string, key = String(made.json["key"])) => {
      const init = post({ model, messages: [{ role: "user", content: "Hi" }] });
      const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
      const response = await fetch(`${shop.url}/v1/chat/completions`, { ...init, headers });
      await response.text();
      expect(response.status).toBe(200);
    };
    for (const model of ["gpt-test", "metered", "metered"]) await keyed(model);
    await browser.call("PATCH", `/account/keys/${String(made.json["id"])}`, { body: { label: "renamed" } });
    await keyed("metered");
    const call = { model: "gpt-test", messages: [{ role: "user", content: "Hi" }] };
    const paid = await buyer.fetch(`${shop.url}/v1/chat/completions`, post(call));
    await paid.text();
    const calls = async () => (await spendOf(browser)).keys.reduce((all, group) => all + group.calls, 0);
    await expect.poll(calls).toBe(5);

    const spend = await spendOf(browser);
    const journal = await shop.gateway.ledger.journal(browser.account);
    const captured = journal
      .filter(({ kind }) => kind === "capture")
      .reduce((sum, { amount }) => sum - amount, 0n);
    expect(captured).toBeGreaterThan(20_000n);
    const moved = shop.localnet.transfersTo(shop.localnet.merchant);
    expect(moved.map(({ amount }) => amount)).toEqual([500_000n, 20_000n]);
    for (const groups of [spend.days, spend.models, spend.keys]) {
      expect([total(groups, "charged"), total(groups, "paid")]).toEqual([captured, 20_000n]);
    }
    const metered = String(captured - 20_000n);
    expect(spend.models).toEqual([
      { model: "gpt-test", ...sums("20000", "20000", 2) },
      { model: "metered", ...sums(metered, "0", 3) },
    ]);
    expect(spend.keys).toEqual([
      { key_id: made.json["id"], key_label: "renamed", ...sums(String(captured), "0", 4) },
      { key_id: null, key_label: null, ...sums("0", "20000", 1) },
    ]);
    expect(spend.complete).toBe(true);
  });

  test("nobody else sees it", async () => {
    const other = await gateAt(shop.url, shop.config).signIn(await newWallet());
    const spend = await spendOf(other);
    expect([spend.today, spend.models, spend.keys]).toEqual([sums("0", "0", 0), [], []]);
    const asked = await other.call("GET", `/account/spend?account=${browser.account}`);
    expect(refusal(asked).slice(0, 2)).toEqual([400, "invalid_request"]);
  });
});

describe("over days", () => {
  let world: AccountWorld;
  beforeAll(async () => {
    world = await openAccountWorld();
  });
  afterAll(() => world.close());

  test("every UTC day is there, those without a call too; older ones are not counted", async () => {
    const wallet = await newWallet();
    const account = `wallet:${wallet.address}`;
    const facts = { account, keyId: "key_a", keyLabel: "a", model: "gpt" };
    await world.ledger.recordUsage(usageFacts({ ...facts, tier: "key" }), 5n);
    const [{ at } = { at: 0 }] = await world.ledger.usage({ account, limit: 1 });
    const date = (days: number) => new Date(at + days * DAY).toISOString().slice(0, 10);
    const later = async (days: number, query: string) => {
      const gate = await world.open({}, () => at + days * DAY);
      return spendOf(await gate.signIn(wallet), query);
    };
    const spend = await later(2, "?days=4");
    expect([spend.from, spend.to]).toEqual([date(-1), date(2)]);
    expect(spend.days).toEqual([
      { date: date(-1), ...sums("0", "0", 0) },
      { date: date(0), ...sums("5", "0", 1) },
      { date: date(1), ...sums("0", "0", 0) },
      { date: date(2), ...sums("0", "0", 0) },
    ]);
    expect(spend.today).toEqual(sums("0", "0", 0));
    expect((await later(2, "?days=2")).models).toEqual([]);
    const only = await later(0, "?days=1");
    expect([only.days, only.today]).toEqual([[{ date: date(0), ...sums("5", "0", 1) }], sums("5", "0", 1)]);
    expect((await later(0, "")).days).toHaveLength(30);
    expect((await later(89, "?days=90")).days[0]).toEqual({ date: date(0), ...sums("5", "0", 1) });
    // The store's clock is ahead of this gateway's: a call of tomorrow is today's.
    expect((await later(-1, "?days=1")).days).toEqual([{ date: date(-1), ...sums("5", "0", 1) }]);
  });

  test.each(["0", "91", "-1", "1.5", "many", "", "1&days=2", "7&model=gpt"])(
    "days=%s is refused",
    async (days) => {
      const browser = await world.gate.signIn(await newWallet());
      const reply = await browser.call("GET", `/account/spend?days=${days}`);
      expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
    },
  );

  test.each([
    [20_000, true],
    [20_001, false],
  ])("%i records: complete is %s, and the newest 20,000 are counted", async (count, complete) => {
    const wallet = await newWallet();
    const account = `wallet:${wallet.address}`;
    const write = (from: number, to: number) =>
      Promise.all(
        Array.from({ length: to - from }, (_, index) =>
          world.ledger.recordUsage(
            usageFacts({ account, tier: "key", keyId: "key_a" }),
            from + index === 0 ? 1_000_000n : 1n,
          ),
        ),
      );
    await write(0, 1);
    for (let from = 1; from < count; from += 2_000) await write(from, Math.min(from + 2_000, count));
    const spend = await spendOf(await world.gate.signIn(wallet));
    expect(spend.complete).toBe(complete);
    expect(spend.keys[0]?.calls).toBe(20_000);
    expect(total(spend.keys, "charged")).toBe(complete ? 1_019_999n : 20_000n);
  });

  test("sums of any records are exact, also beyond 2^53", async () => {
    const routes = [{ method: "POST", path: "/topup", target: CREDIT }];
    const spend = createSpend({ ledger: world.ledger, routes, clock: Date.now });
    const record = fc.record({
      tier: fc.constantFrom("x402" as const, "key" as const, "internal" as const),
      keyId: fc.option(fc.constantFrom("key_a", "key_b"), { nil: undefined }),
      model: fc.option(fc.constantFrom("gpt", "__proto__", "constructor"), { nil: undefined }),
      route: fc.constantFrom("POST /agent", "POST /topup"),
      charged: fc.bigInt({ min: 0n, max: 2n ** 62n }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 30 }), async (records) => {
        const { address } = await newWallet();
        const account = `wallet:${address}`;
        for (const { charged, ...facts } of records) {
          await world.ledger.recordUsage(usageFacts({ account, ...facts }), charged);
        }
        const answer = (await spend(address, {})) as unknown as SpendAnswer;
        const counted = records.filter(({ tier, route }) => tier !== "x402" || route !== "POST /topup");
        const sum = (paid: boolean) =>
          counted
            .filter(({ tier }) => (tier === "x402") === paid)
            .reduce((all, { charged }) => all + charged, 0n);
        for (const groups of [answer.days, answer.models, answer.keys]) {
          expect([total(groups, "charged"), total(groups, "paid")]).toEqual([sum(false), sum(true)]);
          expect(groups.reduce((all, { calls }) => all + calls, 0)).toBe(counted.length);
        }
      }),
      { numRuns: 50 },
    );
  });
});
