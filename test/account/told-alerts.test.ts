import { createHmac, randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import type { KeyPairSigner } from "@solana/kit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createAccountSender } from "../../server/alerts/account-webhook.ts";
import { createAccountAlertDelivery } from "../../server/alerts/deliver-account-alerts.ts";
import type { Rounds } from "../../server/alerts/rounds.ts";
import { MAX_FAILURES } from "../../server/ledger/account-alerts.ts";
import { createLogger } from "../../server/log.ts";
import { createProviderKeyBox } from "../../server/provider-keys.ts";
import { startGateway } from "../../server/start.ts";
import { openReceiver, type Receiver } from "../alerts/alert-stand.ts";
import { chat, openKeyedShop } from "../keyed/keyed-shop.ts";
import { anotherKey, spend } from "../ledger/customers.ts";
import { lastingPort } from "../support/lasting-port.ts";
import { keepLines } from "../support/log-lines.ts";
import {
  type AccountWorld,
  type Gate,
  gateAt,
  LOCAL_ENV,
  newWallet,
  openAccountWorld,
  SESSION_KEY,
  SHOP_ENV,
} from "./account-world.ts";

const SETTINGS = { low_balance: "0.50", key_limit_80: true, key_limit_100: true };
const MASTER_KEYS = [{ id: "", key: Buffer.from(SHOP_ENV.FAREBOX_MASTER_KEY, "hex") }];

let receiver: Receiver;
beforeAll(async () => {
  receiver = await openReceiver();
});
afterAll(() => receiver.close());
afterEach(() => receiver.onEvent((res) => res.writeHead(204).end()));

describe("a ledger, a gateway of local mode and a receiver", () => {
  let world: AccountWorld;
  let gate: Gate;
  let delivery: Rounds;
  const faults: unknown[] = [];
  let wallet: KeyPairSigner;
  let account: string;
  let secret: string;
  let path: string;

  beforeAll(async () => {
    world = await openAccountWorld();
    gate = await world.open(LOCAL_ENV);
    delivery = createAccountAlertDelivery({
      ledger: world.ledger,
      box: createProviderKeyBox(gate.config.ownKeys.masterKeys),
      send: createAccountSender({ isLocal: true, now: Date.now }),
      onFault: (error) => faults.push(error),
      onUnusable: (unopened) => faults.push(unopened),
    });
  });
  afterAll(async () => {
    await delivery.close();
    await world.close();
    expect(faults).toEqual([]);
  });
  beforeEach(async () => {
    wallet = await newWallet();
    account = `wallet:${wallet.address}`;
    path = `/${wallet.address}`;
    secret = await setHook();
    await world.ledger.creditAccount(account, 1_000_000n, "opening");
  });

  async function call(method: string, where: string, body?: unknown) {
    return gate.call(method, where, { body, headers: await gate.header(wallet) });
  }

  async function setHook(): Promise<string> {
    const url = `http://127.0.0.1:${receiver.port}${path}`;
    const { json, text } = await call("PUT", "/account/alerts", { ...SETTINGS, webhook: { url } });
    const { secret: made } = (json["webhook"] ?? {}) as { secret?: string };
    if (made === undefined) throw new Error(text);
    return made;
  }

  /** The balance falls below the threshold once more. */
  async function fall(): Promise<void> {
    await world.ledger.creditAccount(account, 1_000_000n, randomUUID());
    const key = await anotherKey(world.ledger, account);
    await spend(world.ledger, key, (await world.ledger.balance(account)) - 400_000n);
  }

  const events = () => receiver.events.filter((event) => event.path === `POST ${path}`);
  const recent = async () =>
    (await call("GET", "/account/alerts/recent")).json["alerts"] as { delivery: string }[];
  const status = async () =>
    ((await call("GET", "/account/alerts")).json["webhook"] as { status: string }).status;

  test("a crossing is told once, signed with the account's secret, and is listed", async () => {
    const key = await anotherKey(world.ledger, account, { label: "prod", limit: 100_000n });
    await spend(world.ledger, key, 85_000n);
    await delivery.runOnce();
    await delivery.runOnce();
    expect(events()).toHaveLength(1);
    const [event] = events();
    const body = JSON.parse(event?.body ?? "");
    expect(body).toEqual({
      id: event?.headers["farebox-event-id"],
      kind: "key_limit_80",
      account,
      key: { id: key.keyId, label: "prod" },
      amount_usd: "0.085",
      threshold_usd: "0.10",
      at: expect.any(String),
    });
    const [, time, mac] = /^t=(\d+),v1=(\w+)$/.exec(String(event?.headers["farebox-signature"])) ?? [];
    expect(mac).toBe(createHmac("sha256", secret).update(`${time}.${event?.body}`).digest("hex"));
    expect(await recent()).toEqual([
      {
        id: body.id,
        kind: "key_limit_80",
        key: body.key,
        ...{ amount_usd: "0.085", amount_micro_usd: "85000" },
        ...{ threshold_usd: "0.10", threshold_micro_usd: "100000" },
        at: body.at,
        delivery: "delivered",
      },
    ]);
  });

  test("a gateway without the key that a secret is under gives nothing up: it is told by who has the key", async () => {
    const unusable: string[] = [];
    const stranger = createAccountAlertDelivery({
      ledger: world.ledger,
      box: createProviderKeyBox([{ id: "another", key: Buffer.alloc(32, 9) }]),
      send: createAccountSender({ isLocal: true, now: Date.now }),
      onFault: (error) => faults.push(error),
      onUnusable: (unopened) => unusable.push(unopened),
    });
    const oldestIsDue = async () => {
      const oldest = (await world.ledger.accountAlerts(account)).at(-1);
      await world.ledger.postponeAccountAlert(oldest?.id ?? 0, 0);
    };
    const tries = 2 * MAX_FAILURES;
    for (let count = 0; count < tries; count += 1) {
      await fall();
      await oldestIsDue();
      await stranger.runOnce();
    }
    await stranger.close();
    expect(unusable).toEqual(Array(tries).fill(account));
    expect(events()).toEqual([]);
    expect(await status()).toBe("active");
    expect((await recent()).map((alert) => alert.delivery)).toEqual(Array(tries).fill("pending"));

    await oldestIsDue();
    await delivery.runOnce();
    expect(events()).toHaveLength(tries);
    expect((await recent()).map((alert) => alert.delivery)).toEqual(Array(tries).fill("delivered"));
  });

  test("the operator is told of the same crossing as before", async () => {
    const key = await anotherKey(world.ledger, account, { limit: 100_000n });
    await spend(world.ledger, key, 85_000n, { lowBalance: 920_000n });
    const operators = (await world.ledger.takeAlerts(1_000, 0)).filter((alert) => alert.account === account);
    expect(operators.map(({ kind }) => kind).sort()).toEqual(["key_limit_80", "low_balance"]);
    for (const { id } of operators) await world.ledger.endAlert(id);
    expect((await recent()).map((alert) => alert.delivery)).toEqual(["pending"]);
  });

  test("what is refused is put off; what it was told is the same when it comes again", async () => {
    receiver.onEvent((res) => res.writeHead(503).end());
    await fall();
    await delivery.runOnce();
    await delivery.runOnce();
    expect(events()).toHaveLength(1);
    expect(await recent()).toMatchObject([{ delivery: "pending" }]);
    // Due now, as it will be in five seconds.
    const [id] = (await world.ledger.accountAlerts(account)).map((alert) => alert.id);
    await world.ledger.postponeAccountAlert(id ?? 0, 0);
    receiver.onEvent((res) => res.writeHead(204).end());
    await delivery.runOnce();
    const [first, second] = events();
    expect(second?.body).toBe(first?.body);
    expect(await recent()).toMatchObject([{ delivery: "delivered" }]);
  });

  test("after five tries it is given up; after three that were given up nothing is sent until a test arrives", async () => {
    receiver.onEvent((res) => res.writeHead(500).end());
    for (let count = 0; count < MAX_FAILURES; count += 1) {
      await fall();
      const [alert] = await world.ledger.accountAlerts(account);
      for (let attempt = 0; attempt < 5; attempt += 1) {
        await world.ledger.postponeAccountAlert(alert?.id ?? 0, 0);
        await delivery.runOnce();
      }
    }
    expect(events()).toHaveLength(5 * MAX_FAILURES);
    expect(await status()).toBe("suspended");
    receiver.onEvent((res) => res.writeHead(204).end());
    await fall();
    await delivery.runOnce();
    expect((await recent()).map((alert) => alert.delivery)).toEqual([
      "skipped",
      "failed",
      "failed",
      "failed",
    ]);
    expect(events()).toHaveLength(5 * MAX_FAILURES);
    await call("PUT", "/account/alerts", SETTINGS);
    expect(await status()).toBe("suspended");
    expect((await call("POST", "/account/alerts/test")).json).toMatchObject({ delivered: true });
    expect(await status()).toBe("active");
    await fall();
    await delivery.runOnce();
    expect((await recent())[0]).toMatchObject({ delivery: "delivered" });
  });

  test("a test that does not arrive leaves a suspended webhook as it is", async () => {
    for (let count = 0; count < MAX_FAILURES; count += 1) {
      await fall();
      const [alert] = await world.ledger.accountAlerts(account);
      await world.ledger.endAccountAlert(alert?.id ?? 0, "failed");
    }
    receiver.onEvent((res) => res.writeHead(500).end());
    expect((await call("POST", "/account/alerts/test")).json).toMatchObject({ delivered: false });
    expect(await status()).toBe("suspended");
  });

  test("a receiver that does not answer holds up only its own account's", async () => {
    const silentPath = path;
    for (let count = 0; count < 20; count += 1) await fall();
    wallet = await newWallet();
    account = `wallet:${wallet.address}`;
    path = `/${wallet.address}`;
    await setHook();
    await fall();
    const silent: ServerResponse[] = [];
    receiver.onEvent((res, nth) => {
      if (receiver.events[nth - 1]?.path === `POST ${silentPath}`) silent.push(res);
      else res.writeHead(204).end();
    });
    const round = delivery.runOnce();
    await expect.poll(events).toHaveLength(1);
    await expect.poll(() => silent).toHaveLength(1);
    receiver.onEvent((res) => res.writeHead(204).end());
    silent[0]?.writeHead(204).end();
    await round;
    const told = receiver.events.filter((event) => event.path === `POST ${silentPath}`);
    expect(told).toHaveLength(20);
    const times = told.map(({ body }) => JSON.parse(body).id);
    expect(times).toEqual(
      times.toSorted((a: string, b: string) => a.localeCompare(b, "en", { numeric: true })),
    );
  });

  test("nobody is told who was taken away meanwhile, nor by a secret that cannot be opened", async () => {
    await fall();
    await call("PUT", "/account/alerts", { ...SETTINGS, webhook: null });
    await delivery.runOnce();
    secret = await setHook();
    await fall();
    const { ledger } = world;
    const box = createProviderKeyBox([{ id: "other", key: Buffer.alloc(32, 1) }]);
    const send = createAccountSender({ isLocal: true, now: Date.now });
    const onFault = (error: unknown) => faults.push(error);
    const unusable: string[] = [];
    const onUnusable = (unopened: string) => unusable.push(unopened);
    const keyless = createAccountAlertDelivery({ ledger, box, send, onFault, onUnusable });
    await keyless.runOnce();
    await keyless.close();
    expect(events()).toEqual([]);
    expect(unusable).toEqual([account]);
    expect((await recent()).map((alert) => alert.delivery)).toEqual(["pending", "skipped"]);
  });

  test("another wallet sees none of it", async () => {
    await fall();
    await delivery.runOnce();
    expect(events()).toHaveLength(1);
    const stranger = await newWallet();
    const headers = await gate.header(stranger);
    expect((await gate.call("GET", "/account/alerts/recent", { headers })).json).toEqual({ alerts: [] });
  });
});

test("a gateway of local mode tells an account of its own calls by key, and the console lists it", async () => {
  const shop = await openKeyedShop({ noGateway: true });
  const port = await lastingPort();
  const { destination } = keepLines();
  const config = {
    ...shop.config,
    ...{ network: "local" as const, port, publicUrl: `http://127.0.0.1:${port}` },
    dataDir: join(shop.dataDir, "local"),
    sessionKeys: [{ id: "a", key: Buffer.from(SESSION_KEY, "hex") }],
    ownKeys: { ...shop.config.ownKeys, masterKeys: MASTER_KEYS },
  };
  const gateway = await startGateway({
    config,
    log: createLogger({ level: "info", destination }),
    onFatal: (error) => {
      throw error;
    },
  });
  const gate = gateAt(gateway.url, config);
  const wallet = await newWallet();
  const browser = await gate.signIn(wallet);
  const made = await browser.call("POST", "/account/keys", { body: { label: "agent", limit: "0.01" } });
  await gateway.ledger.creditAccount(browser.account, 50_000n, "opening");
  const url = `http://127.0.0.1:${receiver.port}/whole`;
  const set = await browser.call("PUT", "/account/alerts", { body: { ...SETTINGS, webhook: { url } } });
  expect(set.status).toBe(200);
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${String(made.json["key"])}`, "content-type": "application/json" },
    body: chat("Hi", { model: "flat-test" }),
  });
  expect(answer.status).toBe(200);
  await answer.text();
  const kinds = () =>
    receiver.events.filter((event) => event.path === "POST /whole").map(({ body }) => JSON.parse(body).kind);
  await expect.poll(() => kinds().sort(), { timeout: 25_000 }).toEqual(["key_limit_100", "key_limit_80"]);
  await expect
    .poll(async () => (await browser.call("GET", "/account/alerts/recent")).json["alerts"])
    .toMatchObject([{ delivery: "delivered" }, { delivery: "delivered" }]);
  await gateway.close();
  await shop.close();
});
