import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { ChainError } from "../../server/payment/chain.ts";
import { createLeaseKeeper } from "../../server/payment/leases.ts";
import { createReconciler } from "../../server/payment/reconcile.ts";
import { bring, createClock, LEASE_MS, request } from "../ledger/world.ts";
import { faults } from "../support/faulty-facilitator.ts";
import { openShop } from "../support/shop.ts";
import { createAuditor, openForBusiness } from "./audit.ts";

test("settled and never collected: credited after the time that answers are kept, once", async () => {
  const shop = await openShop({ yaml: "payment: { storeResponseFor: 1s }" });
  await openForBusiness(shop.url);
  const auditor = createAuditor(shop);
  const { reconciler } = shop.gateway.payments;
  const sale = await auditor.sell();
  shop.facilitator.fail("settle", faults.dropAfter);
  await sale.send();
  await reconciler.reconcile(sale.id);
  const settled = await auditor.record(sale);
  expect(settled).toMatchObject({ state: "settled", leased: false });

  const sweepUntilCredited = async () => {
    await Promise.all([reconciler.sweep(), reconciler.sweep()]);
    return (await auditor.state(sale)) === "credited";
  };
  await vi.waitUntil(sweepUntilCredited, { interval: 50, timeout: 20_000 });
  const credited = await auditor.record(sale);
  expect(credited?.reason).toBe("not_collected");
  expect(Number(credited?.updatedAt) - Number(settled?.updatedAt)).toBeGreaterThanOrEqual(1_000);
  expect(await shop.gateway.ledger.balance(sale.account)).toBe(20_000n);
  expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited" });
  await auditor.close();
  await shop.close();
});

test("what is being served, or settled, while the machine sleeps is not taken for abandoned", async () => {
  const directory = await mkdtemp(join(tmpdir(), "farebox-"));
  const clock = createClock();
  const faults: unknown[] = [];
  const ignore = () => {};
  const ledger = await openSqliteLedger({
    path: join(directory, "ledger.sqlite"),
    network: "local",
    clock: clock.now,
    onFatal: (error) => faults.push(error),
  });
  const leases = createLeaseKeeper(ledger, LEASE_MS, (error) => faults.push(error));
  const reconciler = createReconciler({
    ledger,
    renewLeases: leases.renew,
    nodes: undefined,
    leaseMs: LEASE_MS,
    intervalMs: 60_000,
    abandonedMs: 600_000,
    strikeMs: 0,
    onDecided: ignore,
    onCredited: ({ id }) => faults.push(id),
    onBacklog: (undecided) => undecided > 0 && faults.push(undecided),
    onFault: (error) => faults.push(error),
  });
  const [served, settling] = [request(), request()];
  const servedFence = await bring(ledger, served, "settled");
  const settlingFence = await bring(ledger, settling, "settling");
  leases.hold(served.id, servedFence);
  leases.hold(settling.id, settlingFence);
  clock.pass(3_600_000);
  vi.spyOn(ledger, "renew").mockRejectedValueOnce("the ledger is away");
  await reconciler.sweep();
  expect(faults).toEqual(["the ledger is away"]);
  await reconciler.sweep();
  expect(faults).toHaveLength(1);
  expect(await ledger.deliver(served.id, servedFence, undefined)).toBe("ok");
  expect(await ledger.settled(settling.id, settlingFence, "transaction", undefined)).toBe("ok");
  leases.close();
  await reconciler.close();
  await ledger.close();
  await rm(directory, { recursive: true, force: true });
});

test("closing does not wait for a whole round over a node that hardly answers", async () => {
  const directory = await mkdtemp(join(tmpdir(), "farebox-"));
  const onFatal = (error: Error): never => {
    throw error;
  };
  const ledger = await openSqliteLedger({
    path: join(directory, "ledger.sqlite"),
    network: "local",
    onFatal,
  });
  for (let count = 0; count < 3; count += 1) await bring(ledger, request(), "unknown");
  let giveUp: () => void = () => {};
  const answer = new Promise<never>((_, reject) => {
    giveUp = () => reject(new ChainError("The time limit has passed."));
  });
  const height = vi.fn(() => answer);
  const never = () => Promise.reject(new Error("not to be asked"));
  const ignore = () => {};
  const reconciler = createReconciler({
    ledger,
    nodes: { height, inOrder: () => [], ask: never },
    leaseMs: 15_000,
    intervalMs: 60_000,
    abandonedMs: 600_000,
    strikeMs: 0,
    onDecided: ignore,
    onCredited: ignore,
    onBacklog: ignore,
    onFault: ignore,
  });
  void reconciler.sweep();
  await vi.waitUntil(() => height.mock.calls.length === 1, { interval: 1, timeout: 10_000 });
  const closed = reconciler.close();
  giveUp();
  await closed;
  expect(height).toHaveBeenCalledTimes(1);
  await ledger.close();
  await rm(directory, { recursive: true, force: true });
});
