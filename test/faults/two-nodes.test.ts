import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness, PAST_EXPIRY } from "./audit.ts";
import { type RpcProxy, startRpcProxy } from "./rpc-proxy.ts";

let first: RpcProxy;
let second: RpcProxy;
let shop: Shop;
let auditor: Auditor;

beforeAll(async () => {
  [first, second] = [await startRpcProxy(), await startRpcProxy()];
  shop = await openShop({ env: { RPC_URL: `${first.url},${second.url}` } });
  for (const proxy of [first, second]) proxy.forwardTo(shop.localnet.rpcUrl);
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
});
afterEach(async () => {
  for (const proxy of [first, second]) {
    proxy.repair();
    await proxy.up();
  }
  await auditor.audit();
});
afterAll(async () => {
  await auditor.close();
  await shop.close();
  for (const proxy of [first, second]) await proxy.close();
});

/** From now on this node stands `blocks` behind the chain and shows nothing of what it has not seen. */
function lag(node: RpcProxy, blocks: number): void {
  const behind = (height: unknown) => Math.max(0, Number(height) - blocks);
  node.fail("getBlockHeight", { change: behind });
  node.fail("getEpochInfo", {
    change: (result) => {
      const { blockHeight, absoluteSlot } = result as Record<string, unknown>;
      return { blockHeight: behind(blockHeight), absoluteSlot: behind(absoluteSlot) };
    },
  });
  node.fail("getSignaturesForAddress", { change: () => [] });
  node.fail("getTransaction", { change: () => null });
}

test("the first node is down: what landed is found at the second, and served", async () => {
  const sale = await auditor.sell();
  await first.down();
  shop.facilitator.fail("settle", faults.dropAfter);
  expect(await sale.send()).toMatchObject({ status: 503, code: "settlement_unknown", settles: 1 });
  expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  await shop.line({ level: "warn", node: 1, msg: "the RPC node does not answer" });
});

test("the first node lags, yet is beyond the claim's life by its own height: nothing is released", async () => {
  const sale = await auditor.sell();
  shop.facilitator.fail("settle", faults.dropAfter);
  lag(first, PAST_EXPIRY);
  second.fail("getSignaturesForAddress", { status: 500, body: "" });
  expect(await sale.send()).toMatchObject({ status: 503, settles: 1 });
  shop.localnet.warp(3 * PAST_EXPIRY);
  for (let round = 0; round < 3; round += 1) await auditor.sweep();
  expect(await auditor.record(sale)).toMatchObject({ state: "unknown" });

  second.repair();
  expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  const lagging = shop.lines.filter(({ node, msg }) => node === 1 && String(msg).includes("lags"));
  expect(lagging).toHaveLength(1);
});

test("what never landed is released by two nodes, and by one if the other is down", async () => {
  for (const isUp of [true, false]) {
    const sale = await auditor.sell();
    shop.facilitator.fail("settle", faults.reset);
    expect(await sale.send()).toMatchObject({ status: 503, settles: 1 });
    shop.localnet.warp(PAST_EXPIRY);
    if (!isUp) await second.down();
    // The gateway may be asking by itself since before the warp, and what it has taken no sweep takes.
    const isReleased = async () => {
      await auditor.sweep();
      return (await auditor.state(sale)) === "released";
    };
    await vi.waitUntil(isReleased, { interval: 10, timeout: 10_000 });
    expect(await auditor.record(sale)).toMatchObject({ state: "released", reason: "never_landed" });
  }
});
