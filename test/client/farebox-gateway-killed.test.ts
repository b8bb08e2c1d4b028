import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import type { Payment } from "../../client/farebox.ts";
import { startChild } from "../faults/child-gateway.ts";
import { endLease, writtenState } from "../faults/dead-gateway.ts";
import { paymentId } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Customer, openCustomer, transfersOf } from "./farebox-setting.ts";

let shop: Shop;
beforeAll(async () => {
  shop = await openShop({ noGateway: true });
});
afterAll(async () => {
  await shop.close();
});

function idOf({ events }: Customer): string {
  const [payment] = events.flatMap((event): Payment[] => (event.type === "signed" ? [event.payment] : []));
  return paymentId({ header: payment?.headers["PAYMENT-SIGNATURE"] ?? "" });
}

test("killed while it settles, and started again: the same payment gets the answer", async () => {
  const child = await startChild(shop);
  const who = await openCustomer(shop);
  const settle = shop.facilitator.hold("settle");
  const answer = who.farebox.agent("Hi");
  await settle.arrived;
  const refused = who.event("resend", "ECONNREFUSED");
  await child.kill();
  settle.release();
  await refused;
  await vi.waitUntil(() => transfersOf(who, shop) === 1, { interval: 5, timeout: 5_000 });
  expect(writtenState(shop, idOf(who))).toBe("settling");
  endLease(shop, idOf(who));
  const again = await startChild(shop);
  expect(await answer).toMatchObject({ reply: "Hello there!" });
  expect([transfersOf(who, shop), who.signed(), who.farebox.unfinished()]).toEqual([1, 1, []]);
  await again.kill();
});

test("the built client is a module of its own, under the name that package.json gives it", async () => {
  const { default: manifest } = await import("../../package.json", { with: { type: "json" } });
  expect(manifest.exports["./client"].default).toBe("./dist/client/farebox.js");
  const built = await import(inject("main").replace("server/main.js", "client/farebox.js"));
  expect(Object.keys(built).sort()).toEqual(["Farebox", "FareboxError"]);
});
