import { afterAll, beforeAll, expect, test } from "vitest";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness, PAST_EXPIRY } from "./audit.ts";
import { type RpcProxy, startRpcProxy } from "./rpc-proxy.ts";

const DEVNET_GENESIS = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG";

let rpc: RpcProxy;
let shop: Shop;
let auditor: Auditor;

beforeAll(async () => {
  rpc = await startRpcProxy();
  rpc.fail("getGenesisHash", { change: () => DEVNET_GENESIS });
  rpc.fail("getSignaturesForAddress", { change: () => [] });
  rpc.fail("getTransaction", { change: () => null });
  shop = await openShop({ env: { RPC_URL: rpc.url } });
  rpc.forwardTo(shop.localnet.rpcUrl);
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
});
afterAll(async () => {
  await auditor.close();
  await shop.close();
  await rpc.close();
});

test("a node of another network: what it does not show is not absent, and the log says why", async () => {
  const sale = await auditor.sell();
  shop.facilitator.fail("settle", faults.dropAfter);
  expect(await sale.send()).toMatchObject({ status: 503, code: "settlement_unknown", settles: 1 });
  shop.localnet.warp(PAST_EXPIRY);
  for (let round = 0; round < 3; round += 1) await auditor.sweep();
  expect(await auditor.record(sale)).toMatchObject({ state: "unknown" });
  expect(await sale.send()).toMatchObject({ status: 503, code: "settlement_unknown", settles: 0 });
  expect(await shop.line({ level: "warn", node: 1, msg: "the RPC node does not answer" })).toMatchObject({
    err: { message: "The node is of another network." },
  });
  await auditor.audit();
  rpc.repair();
  expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
  await auditor.audit();
});
