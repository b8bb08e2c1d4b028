import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness, PAST_EXPIRY } from "./audit.ts";
import { type RpcFault, type RpcProxy, startRpcProxy } from "./rpc-proxy.ts";

let rpc: RpcProxy;
let shop: Shop;
let auditor: Auditor;

beforeAll(async () => {
  // Requests are counted, and nodes fail: no round of the reconciler's own falls into a test.
  vi.useFakeTimers({ toFake: ["setInterval"] });
  rpc = await startRpcProxy();
  shop = await openShop({ env: { RPC_URL: rpc.url } });
  rpc.forwardTo(shop.localnet.rpcUrl);
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
});
afterEach(() => auditor.audit());
afterAll(async () => {
  rpc.repair();
  await auditor.close();
  await shop.close();
  await rpc.close();
  vi.useRealTimers();
});

const unknown = { status: 503, code: "settlement_unknown", retryAfter: 2, settles: 0 };
const FAILED = { InstructionError: [2, { Custom: 1 }] };

const sweep = () => auditor.sweep();
const error = (code: number): RpcFault => ({
  status: 200,
  body: JSON.stringify({ jsonrpc: "2.0", id: 1, error: { code, message: "injected" } }),
});

describe("the node can tell", () => {
  test("not on the chain, not expired: stays unknown, sweep after sweep", async () => {
    const sale = await auditor.sell();
    shop.facilitator.fail("settle", faults.reset);
    expect(await sale.send()).toMatchObject({ status: 503, settles: 1 });
    for (let round = 0; round < 3; round += 1) await sweep();
    expect(await auditor.record(sale)).toMatchObject({ state: "unknown" });
    expect(await sale.send()).toMatchObject(unknown);
  });

  test("many retries of one unknown payment ask once, and one of them is served", async () => {
    const sale = await auditor.sell();
    rpc.failAll(error(-32005));
    shop.facilitator.fail("settle", faults.dropAfter);
    await sale.send();
    await sweep();
    const upstream = shop.upstream.calls.length;
    rpc.repair();
    rpc.calls("getEpochInfo");
    const answers = await Promise.all(Array.from({ length: 10 }, () => sale.send()));
    expect(rpc.calls("getEpochInfo")).toBe(1);
    expect(shop.upstream.calls.length).toBe(upstream + 1);
    const others = answers.filter(({ status }) => status !== 200);
    expect(others.length).toBeLessThan(10);
    for (const other of others) {
      expect(other).toMatchObject({ status: 409, code: "payment_in_progress", retryAfter: 1, settles: 0 });
    }
    expect(await auditor.state(sale)).toBe("delivered");
  });

  test("it landed and failed: released, and it moves nothing when sent again", async () => {
    // This node lies about the chain, so the sale is not one for the audit.
    const sale = await createAuditor(shop).sell();
    const fail = (result: unknown) => {
      const { meta, ...rest } = result as { meta: object };
      return { ...rest, meta: { ...meta, err: FAILED } };
    };
    rpc.fail("getTransaction", { change: fail });
    shop.facilitator.fail("settle", faults.dropAfter);
    expect(await sale.send()).toMatchObject({ status: 503, settles: 1 });
    expect(await sale.send()).toMatchObject({ status: 402, code: "payment_invalid", settles: 0 });
    expect(await auditor.state(sale)).toBe("released");
    expect(await shop.gateway.ledger.journal(sale.account)).toEqual([]);
    rpc.repair();
  });

  test("after a restart: what landed is found at once, without a request", async () => {
    const sale = await auditor.sell();
    rpc.failAll(error(-32005));
    shop.facilitator.fail("settle", faults.dropAfter);
    await sale.send();
    await sweep();
    expect(await auditor.state(sale)).toBe("unknown");
    rpc.repair();
    await shop.restart();
    await vi.waitUntil(async () => (await auditor.state(sale)) !== "unknown", {
      interval: 10,
      timeout: 10_000,
    });
    expect(await auditor.record(sale)).toMatchObject({ state: "settled", leased: false });
    await openForBusiness(shop.url);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  });
});

describe("refused, settled all the same, and no node to ask", () => {
  test.each([
    { name: "by the facilitator", fault: faults.reason("insufficient_funds") },
    // A proxy before the facilitator, which has passed it on.
    { name: "with a status that says it was not handled", fault: faults.status(401) },
  ])("$name: the retry waits, and is not told to pay again", async ({ fault }) => {
    const sale = await auditor.sell();
    const late = shop.facilitator.lateLanding("settle", fault);
    expect(await sale.send()).toMatchObject({ settles: 1 });
    await late.release();
    rpc.failAll(error(-32005));
    expect(await sale.send()).toMatchObject(unknown);
    rpc.repair();
    expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
    expect(auditor.moved(sale)).toBe(1);
  });

  test("another gateway asks the chain at this moment: the retry waits for what it hears", async () => {
    const sale = await auditor.sell();
    const late = shop.facilitator.lateLanding("settle", faults.status(401));
    expect(await sale.send()).toMatchObject({ settles: 1 });
    await late.release();
    const { ledger } = shop.gateway;
    const { release } = ledger;
    vi.spyOn(ledger, "release").mockImplementationOnce(async (id, ...args) => {
      const step = await release(id, ...args);
      await ledger.takeUndecided(id, 0n, 60_000);
      return step;
    });
    expect(await sale.send()).toMatchObject(unknown);
    // A new claim takes it over.
    expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
    expect(auditor.moved(sale)).toBe(1);
  });

  test("somebody else took it over meanwhile: it is not told to pay again", async () => {
    // Nobody did in truth, so the sale is not one for the audit.
    const sale = await createAuditor(shop).sell();
    shop.facilitator.fail("settle", faults.reason("insufficient_funds"));
    vi.spyOn(shop.gateway.ledger, "release").mockResolvedValueOnce("lost");
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
  });

  test("a node that shows nothing yet: what cannot be settled is refused at once", async () => {
    const sale = await auditor.sell();
    shop.facilitator.fail("settle", faults.reason("insufficient_funds"));
    expect(await sale.send()).toMatchObject({ status: 402, settles: 1 });
    shop.facilitator.fail("verify", faults.reason("invalid_exact_svm_transaction_simulation_failed"));
    expect(await sale.send()).toMatchObject({ status: 402, code: "payment_invalid", settles: 0 });
    expect(auditor.moved(sale)).toBe(0);
  });
});

describe("the node cannot tell", () => {
  const broken: readonly { name: string; break: () => void | Promise<void> }[] = [
    { name: "connections are refused", break: () => rpc.down() },
    { name: "500", break: () => rpc.failAll({ status: 500, body: "oops" }) },
    { name: "garbage", break: () => rpc.failAll({ status: 200, body: "<html>" }) },
    { name: "no JSON-RPC", break: () => rpc.failAll({ status: 200, body: "[]" }) },
    { name: "rate limited", break: () => rpc.failAll(error(-32005)) },
    { name: "lags behind", break: () => rpc.fail("getSignaturesForAddress", error(-32016)) },
    { name: "no height", break: () => rpc.fail("getEpochInfo", { change: () => null }) },
    {
      name: "a list of another shape",
      break: () => rpc.fail("getSignaturesForAddress", { change: () => ({}) }),
    },
    { name: "null for a listed signature", break: () => rpc.fail("getTransaction", { change: () => null }) },
    {
      name: "a transaction without its balances",
      break: () =>
        rpc.fail("getTransaction", {
          change: (result) => ({
            ...(result as object),
            meta: { err: null, preTokenBalances: [], postTokenBalances: [] },
          }),
        }),
    },
  ];

  test.each(broken)("$name: stays unknown even when expired; served once it can", async (row) => {
    const sale = await auditor.sell();
    await row.break();
    shop.facilitator.fail("settle", faults.dropAfter);
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
    shop.localnet.warp(PAST_EXPIRY);
    await sweep();
    expect(await sale.send()).toMatchObject(unknown);
    expect(await auditor.record(sale)).toMatchObject({ state: "unknown" });

    rpc.repair();
    await rpc.up();
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
    expect(await auditor.state(sale)).toBe("delivered");
  });

  test("a refused payment stays watched, and is credited once it is found", async () => {
    const sale = await auditor.sell();
    rpc.failAll({ status: 500, body: "" });
    const late = shop.facilitator.lateLanding("settle", faults.reason("insufficient_funds"));
    expect(await sale.send()).toMatchObject({ status: 402, code: "payment_refused" });
    await late.release();
    shop.localnet.warp(PAST_EXPIRY);
    await sweep();
    expect(await auditor.record(sale)).toMatchObject({ state: "released", watched: true });
    rpc.repair();
    await sweep();
    expect(await auditor.state(sale)).toBe("credited");
  });
});

test.each([
  ["ahead of", -600],
  ["behind", 1_200],
])(
  "our clock is far %s the chain's, and the node tells no memos: what landed is found",
  async (_name, seconds) => {
    // What it knows of the chain's height is older than the blocks that were leapt over above.
    await shop.restart();
    await openForBusiness(shop.url);
    const shifted = (at: unknown) => Number(at) + seconds;
    rpc.fail("getBlockTime", { change: shifted });
    rpc.fail("getSignaturesForAddress", {
      change: (list) =>
        (list as { readonly blockTime: number }[]).map((each) => {
          return { ...each, blockTime: shifted(each.blockTime), memo: null };
        }),
    });
    const sale = await auditor.sell();
    shop.facilitator.fail("settle", faults.dropAfter);
    expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
    const isFound = async () => (await auditor.state(sale)) === "settled";
    await vi.waitUntil(isFound, { interval: 10, timeout: 10_000 });
    rpc.repair();
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  },
);

test("its only node was away at the claim and comes back far behind it: what it does not show yet is not absent", async () => {
  shop.localnet.warp(2 * BEHIND);
  await rpc.down();
  await shop.restart();
  await openForBusiness(shop.url);
  const sale = await auditor.sell();
  shop.facilitator.fail("settle", faults.dropAfter);
  expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
  standBehind(BEHIND);
  await rpc.up();
  expect(await sale.send()).toMatchObject(unknown);
  // By its own heights the claim's life is over; by those of the chain it was not there yet when the claim was made.
  standBehind(BEHIND - PAST_EXPIRY);
  for (let round = 0; round < 3; round += 1) await sweep();
  expect(await auditor.record(sale)).toMatchObject({ state: "unknown" });
  rpc.repair();
  expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
});

const BEHIND = 4 * PAST_EXPIRY;
const BLOCK_SECONDS = 0.4;

/** The node has not seen the chain's last blocks, nor what landed in them. */
function standBehind(blocks: number): void {
  const behind = (height: unknown) => Number(height) - blocks;
  rpc.fail("getBlockHeight", { change: behind });
  rpc.fail("getEpochInfo", {
    change: (result) => {
      const { blockHeight, absoluteSlot } = result as Record<string, unknown>;
      return { blockHeight: behind(blockHeight), absoluteSlot: behind(absoluteSlot) };
    },
  });
  rpc.fail("getBlockTime", {
    change: (seconds) => Math.floor(Number(seconds) - blocks * BLOCK_SECONDS),
  });
  rpc.fail("getSignaturesForAddress", { change: () => [] });
  rpc.fail("getTransaction", { change: () => null });
}

test("the height was not known at the claim: the first question stamps it, and the payment expires from there", async () => {
  await rpc.down();
  await shop.restart();
  await openForBusiness(shop.url);
  const sale = await auditor.sell();
  shop.facilitator.fail("settle", faults.reset);
  expect(await sale.send()).toMatchObject({ ...unknown, settles: 1 });
  expect((await auditor.record(sale))?.claimHeight).toBeUndefined();
  await rpc.up();
  expect(await sale.send()).toMatchObject(unknown);
  expect((await auditor.record(sale))?.claimHeight).toBeGreaterThanOrEqual(shop.localnet.height());
  shop.localnet.warp(PAST_EXPIRY);
  expect(await sale.send()).toMatchObject({ status: 402, code: "payment_invalid", settles: 0 });
  expect(await auditor.state(sale)).toBe("released");
});
