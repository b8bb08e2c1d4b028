import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type AlertDeliveryOptions, createAlertDelivery } from "../../server/alerts/deliver-alerts.ts";
import type { AlertsConfig } from "../../server/config.ts";
import { type AlertQueue, createAlertQueue, openReceiver, type Receiver } from "./alert-stand.ts";

/** Each crossing is told once, whatever the receiver does; never to somebody else, and never for ever. */
const SECRET = "whsec_0123456789abcdef0123456789abcdef";

let receiver: Receiver;
let ledger: AlertQueue;
let failures: [id: number, reason: string, givenUp: boolean][];
let faults: unknown[];
beforeEach(async () => {
  receiver = await openReceiver();
  ledger = createAlertQueue();
  failures = [];
  faults = [];
});
afterEach(() => receiver.close());

function deliver(config: Partial<AlertsConfig> = {}, more: Partial<AlertDeliveryOptions> = {}) {
  const delivery = createAlertDelivery({
    ledger,
    config: {
      webhookUrl: `http://127.0.0.1:${receiver.port}/hooks?team=ops`,
      webhookSecret: SECRET,
      allowPrivate: true,
      lowBalance: undefined,
      ...config,
    },
    onFailed: ({ id }, reason, givenUp) => failures.push([id, reason, givenUp]),
    onFault: (error) => faults.push(error),
    now: () => ledger.now(),
    ...more,
  });
  if (delivery === undefined) throw new Error("no webhook");
  return delivery;
}

test("an alert is told once, signed over its time and body, with exact amounts", async () => {
  ledger.add({ id: 7 });
  const delivery = deliver();
  await delivery.runOnce();
  await delivery.runOnce();
  await delivery.close();
  expect(receiver.events).toHaveLength(1);
  const [event] = receiver.events;
  expect(event?.path).toBe("POST /hooks?team=ops");
  expect(JSON.parse(event?.body ?? "")).toEqual({
    id: "alert_7",
    kind: "key_limit_80",
    account: "acct_1",
    key: { id: "key_1", label: "production" },
    amount_usd: "8.000001",
    threshold_usd: "10.00",
    at: "2026-01-02T03:04:05.000Z",
  });
  expect(event?.headers["content-type"]).toBe("application/json");
  expect(event?.headers["farebox-event-id"]).toBe("alert_7");
  const seconds = ledger.now() / 1_000;
  const mac = createHmac("sha256", SECRET).update(`${seconds}.${event?.body}`).digest("hex");
  expect(event?.headers["farebox-signature"]).toBe(`t=${seconds},v1=${mac}`);
  expect(ledger.ended).toEqual([7]);
  expect(failures).toEqual([]);
});

test("a low balance has no key", async () => {
  ledger.add({
    kind: "low_balance",
    keyId: undefined,
    keyLabel: undefined,
    amount: 0n,
    threshold: 1_000_000n,
  });
  const delivery = deliver();
  await delivery.runOnce();
  await delivery.close();
  expect(JSON.parse(receiver.events[0]?.body ?? "")).toMatchObject({
    kind: "low_balance",
    key: null,
    amount_usd: "0.00",
  });
});

test("more alerts than one batch are told in one round", async () => {
  for (let id = 1; id <= 20; id += 1) ledger.add({ id });
  const delivery = deliver();
  await Promise.all([delivery.runOnce(), delivery.runOnce()]);
  await delivery.close();
  expect(new Set(receiver.events.map(({ headers }) => headers["farebox-event-id"])).size).toBe(20);
  expect(receiver.events).toHaveLength(20);
});

test("failed tries are spaced out up to an hour, under one id and body, and end after ten", async () => {
  receiver.onEvent((res) => res.writeHead(500).end("down"));
  ledger.add({});
  const delivery = deliver();
  const delays: (number | undefined)[] = [];
  for (let tries = 1; tries <= 10; tries += 1) {
    await delivery.runOnce();
    const delay = ledger.waiting().get(1);
    delays.push(delay);
    ledger.advance((delay ?? 0) - 1);
    await delivery.runOnce();
    expect(receiver.events).toHaveLength(tries);
    ledger.advance(1);
  }
  await delivery.close();
  const seconds = [5, 15, 45, 135, 405, 1_215, 3_600, 3_600, 3_600];
  expect(delays).toEqual([...seconds.map((each) => each * 1_000), undefined]);
  expect(ledger.ended).toEqual([1]);
  expect(failures).toEqual(Array.from({ length: 10 }, (_, index) => [1, "status_500", index === 9]));
  expect(new Set(receiver.events.map(({ body }) => body)).size).toBe(1);
  expect(new Set(receiver.events.map(({ headers }) => headers["farebox-event-id"])).size).toBe(1);
  expect(new Set(receiver.events.map(({ headers }) => headers["farebox-signature"])).size).toBe(10);
});

test("told at a later try, it is done", async () => {
  receiver.onEvent((res, nth) => res.writeHead(nth < 3 ? 503 : 200).end());
  ledger.add({});
  const delivery = deliver();
  for (let round = 0; round < 5; round += 1) {
    await delivery.runOnce();
    ledger.advance(3_600_000);
  }
  await delivery.close();
  expect(receiver.events).toHaveLength(3);
  expect(ledger.ended).toEqual([1]);
});

test.each<[string, (res: ServerResponse) => void, string]>([
  ["hangs", () => undefined, "timeout"],
  ["sends a head and hangs", (res) => res.writeHead(200).write("x"), "timeout"],
  ["resets the connection", (res) => res.socket?.destroy(), "connection_lost:UND_ERR_SOCKET"],
  ["answers 404", (res) => res.writeHead(404).end(), "status_404"],
  ["answers far too much", (res) => res.writeHead(200).end("x".repeat(200_000)), "oversized_reply"],
])("a receiver that %s has not been told", async (_, answer, reason) => {
  receiver.onEvent(answer);
  ledger.add({});
  const delivery = deliver({}, { timeoutMs: 200 });
  await delivery.runOnce();
  await delivery.close();
  expect(failures).toEqual([[1, reason, false]]);
  expect(ledger.waiting().get(1)).toBe(5_000);
});

test.each([301, 302, 303, 307, 308])("a redirect (%i) is not followed", async (status) => {
  const elsewhere = await openReceiver();
  receiver.onEvent((res) => res.writeHead(status, { location: `http://127.0.0.1:${elsewhere.port}/` }).end());
  ledger.add({});
  const delivery = deliver();
  await delivery.runOnce();
  await delivery.close();
  expect(elsewhere.events).toEqual([]);
  expect(failures).toEqual([[1, `status_${status}`, false]]);
  await elsewhere.close();
});

test("one receiver that hangs does not hold up the others of its round, and nobody else gets them meanwhile", async () => {
  const heard: ServerResponse[] = [];
  receiver.onEvent((res, nth) => (nth === 1 ? void heard.push(res) : res.writeHead(204).end()));
  for (const id of [1, 2, 3]) ledger.add({ id });
  const delivery = deliver({}, { timeoutMs: 60_000 });
  const round = delivery.runOnce();
  await expect.poll(() => ledger.ended.length).toBe(2);
  expect([...ledger.waiting().values()]).toEqual([80_000]);
  heard[0]?.writeHead(204).end();
  await round;
  await delivery.close();
  expect(ledger.ended).toHaveLength(3);
});

test("closing breaks off what hangs, and leaves it for the next start even at the last try", async () => {
  const asked = new Promise<void>((resolve) => receiver.onEvent(() => resolve()));
  ledger.add({ attempt: 9 });
  const delivery = deliver();
  delivery.start();
  await asked;
  await delivery.close();
  expect(ledger.ended).toEqual([]);
  expect(ledger.waiting().get(1)).toBe(5_000);
  expect(failures).toEqual([]);
});

test("started, it looks again by itself", async () => {
  const delivery = deliver({}, { everyMs: 5 });
  delivery.start();
  ledger.add({ id: 3 });
  await expect.poll(() => ledger.ended).toEqual([3]);
  await delivery.close();
});

test("a ledger that fails is reported and the next round works", async () => {
  ledger.add({});
  let broken = true;
  const delivery = deliver(
    {},
    {
      ledger: {
        ...ledger,
        takeAlerts: (...args) => (broken ? Promise.reject(new Error("disk")) : ledger.takeAlerts(...args)),
      },
    },
  );
  await delivery.runOnce();
  expect(faults).toEqual([new Error("disk")]);
  broken = false;
  await delivery.runOnce();
  await delivery.close();
  expect(ledger.ended).toEqual([1]);
});

test("rounds do not pile up while one is running", async () => {
  let looks = 0;
  const takeAlerts: AlertQueue["takeAlerts"] = (...args) => {
    looks += 1;
    return ledger.takeAlerts(...args);
  };
  const delivery = deliver({}, { ledger: { ...ledger, takeAlerts } });
  await Promise.all([delivery.runOnce(), delivery.runOnce(), delivery.runOnce()]);
  expect(looks).toBe(1);
  await delivery.runOnce();
  expect(looks).toBe(2);
  await delivery.close();
});

test("without a webhook there is no delivery, and alerts stay where they are", () => {
  const config = { webhookUrl: undefined, webhookSecret: SECRET, allowPrivate: true, lowBalance: undefined };
  const options = { ledger, config, onFailed: () => undefined, onFault: () => undefined };
  expect(createAlertDelivery(options)).toBeUndefined();
});

test("nobody listens", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  ledger.add({});
  const delivery = deliver({ webhookUrl: `http://127.0.0.1:${address.port}/` });
  await delivery.runOnce();
  await delivery.close();
  expect(failures).toEqual([[1, "connect_failed:ECONNREFUSED", false]]);
});
