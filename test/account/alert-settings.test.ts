import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { KeyPairSigner } from "@solana/kit";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openReceiver, type Received, type Receiver } from "../alerts/alert-stand.ts";
import {
  type AccountWorld,
  type Gate,
  LOCAL_ENV,
  newWallet,
  openAccountWorld,
  refusal,
} from "./account-world.ts";

const OFF = {
  low_balance_usd: null,
  low_balance_micro_usd: null,
  key_limit_80: false,
  key_limit_100: false,
  webhook: null,
};
const ON = { low_balance: "1.50", key_limit_80: true, key_limit_100: true };

let world: AccountWorld;
let local: Gate;
let receiver: Receiver;
beforeAll(async () => {
  world = await openAccountWorld();
  local = await world.open(LOCAL_ENV);
  receiver = await openReceiver();
});
afterAll(async () => {
  await world.close();
  await receiver.close();
});

let wallet: KeyPairSigner;
let hook: string;
beforeEach(async () => {
  wallet = await newWallet();
  hook = `http://127.0.0.1:${receiver.port}/hook?of=${wallet.address}`;
});

async function call(gate: Gate, method: string, path: string, body?: unknown, of = wallet) {
  return gate.call(method, path, { body, headers: await gate.header(of) });
}

/** Sets a webhook in local mode, and returns its secret. */
async function setHook(url = hook): Promise<string> {
  const { json, text } = await call(local, "PUT", "/account/alerts", { ...ON, webhook: { url } });
  const { secret } = (json["webhook"] ?? {}) as { secret?: string };
  if (secret === undefined) throw new Error(text);
  return secret;
}

const told = (of = hook): readonly Received[] =>
  receiver.events.filter(({ path }) => path === `POST ${new URL(of).pathname}${new URL(of).search}`);

function isSigned({ headers, body }: Received, secret: string): boolean {
  const [, time = "", mac] = /^t=(\d+),v1=([0-9a-f]+)$/.exec(String(headers["farebox-signature"])) ?? [];
  return mac === createHmac("sha256", secret).update(`${time}.${body}`).digest("hex");
}

describe("thresholds", () => {
  test("are off until they are set, are replaced as a whole, and are one account's alone", async () => {
    const other = await newWallet();
    expect((await call(world.gate, "GET", "/account/alerts")).json).toEqual(OFF);
    const set = await call(world.gate, "PUT", "/account/alerts", ON);
    const shown = {
      ...{ low_balance_usd: "1.50", low_balance_micro_usd: "1500000" },
      ...{ key_limit_80: true, key_limit_100: true, webhook: null },
    };
    expect([set.status, set.json]).toEqual([200, shown]);
    expect((await call(world.gate, "GET", "/account/alerts")).json).toEqual(shown);
    expect((await call(world.gate, "GET", "/account/alerts", undefined, other)).json).toEqual(OFF);
    const less = { low_balance: null, key_limit_80: false, key_limit_100: true };
    const replaced = await call(world.gate, "PUT", "/account/alerts", less);
    expect(replaced.json).toEqual({ ...OFF, key_limit_100: true });
    expect(await world.ledger.alertSettings(`wallet:${wallet.address}`)).toMatchObject({
      lowBalance: undefined,
      keyLimit100: true,
    });
  });

  test("deleting turns all of it off", async () => {
    await setHook();
    const { status, json } = await call(local, "DELETE", "/account/alerts");
    expect([status, json["deleted"]]).toEqual([200, true]);
    expect((await call(local, "GET", "/account/alerts")).json).toEqual(OFF);
    expect((await call(local, "DELETE", "/account/alerts")).status).toBe(200);
  });

  test.each([
    [{}, "low_balance"],
    [{ ...ON, low_balance: 1.5 }, "low_balance"],
    [{ ...ON, low_balance: "0" }, "low_balance"],
    [{ ...ON, low_balance: "1.0000001" }, "low_balance"],
    [{ ...ON, key_limit_80: "yes" }, "key_limit_80"],
    [{ ...ON, account: "wallet:x" }, "account"],
    [{ ...ON, webhook: "https://hooks.example.com" }, "webhook"],
    [{ ...ON, webhook: { url: "https://hooks.example.com", secret: "mine" } }, "secret"],
  ])("what they cannot be is refused, and changes nothing: %j", async (body, named) => {
    const reply = await call(world.gate, "PUT", "/account/alerts", body);
    expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
    expect(reply.text).toContain(named);
    expect((await call(world.gate, "GET", "/account/alerts")).json).toEqual(OFF);
  });

  test("only after a sign-in, and by cookie only from our own page", async () => {
    const paths = [
      ["GET", "/account/alerts"],
      ["PUT", "/account/alerts"],
      ["DELETE", "/account/alerts"],
      ["GET", "/account/alerts/recent"],
      ["POST", "/account/alerts/test"],
      ["POST", "/account/alerts/webhook/rotate"],
    ] as const;
    const browser = await world.gate.signIn(wallet);
    for (const [method, path] of paths) {
      const bare = await world.gate.call(method, path, { body: method === "GET" ? undefined : ON });
      expect(bare.status, path).toBe(method === "GET" ? 401 : 403);
      if (method === "GET") continue;
      const foreign = { origin: "https://evil.example" };
      expect(refusal(await browser.call(method, path, { body: ON, headers: foreign }))[1]).toBe(
        "csrf_refused",
      );
    }
  });
});

describe("a webhook's secret", () => {
  test("is shown once, is nowhere in the ledger, and stays while the URL does", async () => {
    const secret = await setHook();
    expect(secret).toMatch(/^whsec_[\w-]{43}$/);
    const again = await call(local, "PUT", "/account/alerts", {
      ...ON,
      low_balance: "2",
      webhook: { url: hook },
    });
    const kept = await call(local, "PUT", "/account/alerts", { ...ON, low_balance: "3" });
    const shown = await call(local, "GET", "/account/alerts");
    for (const { json } of [again, kept, shown]) {
      expect(json["webhook"]).toEqual({ url: hook, status: "active", created_at: expect.any(String) });
    }
    expect(shown.json["low_balance_usd"]).toBe("3.00");
    for (const name of ["ledger.sqlite", "ledger.sqlite-wal"]) {
      const file = await readFile(join(world.directory, name));
      expect(file.includes(secret)).toBe(false);
      expect(file.includes(Buffer.from(secret.slice(6), "base64url"))).toBe(false);
    }
    expect(await send()).toMatchObject({ delivered: true });
    const [event] = told();
    expect(event && isSigned(event, secret)).toBe(true);
  });

  test("is another for another URL, so that the first receiver cannot sign for the second", async () => {
    const first = await setHook();
    const second = await setHook(`${hook}&second`);
    expect(second).not.toBe(first);
  });

  test("can be rotated: the new one signs, the old one no more", async () => {
    const first = await setHook();
    const rotated = await call(local, "POST", "/account/alerts/webhook/rotate");
    const { secret: second = "" } = rotated.json["webhook"] as { secret?: string };
    expect(second).toMatch(/^whsec_/);
    expect(await send()).toEqual({ delivered: true, result: "delivered" });
    const [event] = told();
    if (event === undefined) throw new Error("nobody was told");
    expect([isSigned(event, second), isSigned(event, first)]).toEqual([true, false]);
    expect(JSON.parse(event.body)).toMatchObject({ kind: "test", account: `wallet:${wallet.address}` });
  });

  test("where there is no webhook there is none to rotate or to test", async () => {
    await call(local, "PUT", "/account/alerts", ON);
    for (const path of ["/account/alerts/webhook/rotate", "/account/alerts/test"]) {
      expect(refusal(await call(local, "POST", path)).slice(0, 2)).toEqual([404, "not_found"]);
    }
    await setHook();
    const removed = await call(local, "PUT", "/account/alerts", { ...ON, webhook: null });
    expect(removed.json).toMatchObject({ key_limit_80: true, webhook: null });
    expect((await call(local, "POST", "/account/alerts/test")).status).toBe(404);
  });

  test("without a key to keep it under there is no webhook, and thresholds all the same", async () => {
    const bare = await world.open({ ...LOCAL_ENV, FAREBOX_MASTER_KEY: "" });
    const reply = await call(bare, "PUT", "/account/alerts", { ...ON, webhook: { url: hook } });
    expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
    expect(reply.text).toContain("FAREBOX_MASTER_KEY");
    expect((await call(bare, "PUT", "/account/alerts", ON)).status).toBe(200);
  });

  test("sealed under a key that is gone, it is shown as unusable until it is rotated", async () => {
    await setHook();
    const other = await world.open({ ...LOCAL_ENV, FAREBOX_MASTER_KEY: Buffer.alloc(32, 1).toString("hex") });
    const statusOf = ({ json }: { json: Record<string, unknown> }) =>
      (json["webhook"] as { status: string }).status;
    expect(statusOf(await call(other, "GET", "/account/alerts"))).toBe("unusable");
    const tested = await call(other, "POST", "/account/alerts/test");
    expect(tested.json).toEqual({ delivered: false, result: "unusable" });
    expect(statusOf(await call(other, "POST", "/account/alerts/webhook/rotate"))).toBe("active");
    expect(told()).toEqual([]);
  });
});

async function send(gate = local, of = wallet): Promise<Record<string, unknown>> {
  const reply = await call(gate, "POST", "/account/alerts/test", undefined, of);
  if (reply.status !== 200) throw new Error(reply.text);
  return reply.json;
}

describe("a test of the webhook", () => {
  test.each([
    ["status_500", 500],
    // Whatever it points at is not asked.
    ["status_302", 302],
  ])("that is answered otherwise says so: %s", async (result, status) => {
    await setHook();
    receiver.onEvent((res) =>
      res.writeHead(status, { location: `http://127.0.0.1:${receiver.port}/else` }).end(),
    );
    expect(await send()).toEqual({ delivered: false, result });
    receiver.onEvent((res) => res.writeHead(204).end());
    expect(told()).toHaveLength(1);
    expect(receiver.events.some(({ path }) => path.includes("/else"))).toBe(false);
  });

  test("of which nobody listens is unreachable, and tells no more", async () => {
    const closed = await openReceiver();
    await closed.close();
    await setHook(`http://127.0.0.1:${closed.port}/`);
    expect(await send()).toEqual({ delivered: false, result: "unreachable" });
  });

  test("is for a wallet once a minute, on all gateways together", async () => {
    await setHook();
    await send();
    const second = await world.open(LOCAL_ENV);
    for (const gate of [local, second]) {
      const reply = await call(gate, "POST", "/account/alerts/test");
      expect(refusal(reply).slice(0, 2)).toEqual([429, "rate_limit_exceeded"]);
      expect(Number(reply.headers.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(told()).toHaveLength(1);
  });

  test("is for a client address ten times a minute, whoever signs in from there", async () => {
    const gate = await world.open(LOCAL_ENV);
    const statuses = [];
    for (let count = 0; count < 12; count += 1) {
      wallet = await newWallet();
      await setHook();
      statuses.push((await call(gate, "POST", "/account/alerts/test")).status);
    }
    expect(statuses).toEqual([...Array(10).fill(200), 429, 429]);
    expect(told()).toHaveLength(10);
  });
});

describe("outside local mode only the public internet may be told, whatever the operator allows himself", () => {
  test.each([
    ["http://hooks.example.com/", "must be https"],
    ["https://hooks.example.com:8443/", "must be on port 443"],
    ["https://hooks.example.com:22/", "must be on port 443"],
    ["https://user:pw@hooks.example.com/", "no user name or password"],
    ["https://hooks.example.com/#x", "no fragment"],
    ["https://127.0.0.1/", "public internet"],
    ["https://2130706433/", "public internet"],
    ["https://0x7f.1/", "public internet"],
    ["https://[::1]/", "public internet"],
    ["https://[::ffff:169.254.169.254]/", "public internet"],
    ["https://10.1.2.3/", "public internet"],
    ["https://169.254.169.254/latest/meta-data", "public internet"],
    ["file:///etc/passwd", "must be https"],
    ["gopher://hooks.example.com/", "must be https"],
    ["not a url", "https URL"],
    [`https://hooks.example.com/${"x".repeat(500)}`, "at most 500"],
  ])("%s is refused", async (url, why) => {
    const reply = await call(world.gate, "PUT", "/account/alerts", { ...ON, webhook: { url } });
    expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
    expect(reply.text).toContain(why);
  });

  test.each(["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"])(
    "a name that leads to %s is taken and then not connected to",
    async (address) => {
      const family = address.includes(":") ? 6 : 4;
      const gate = await world.open({}, undefined, undefined, {
        resolve: (_host, _options, done) => done(null, [{ address, family }]),
      });
      const before = receiver.events.length;
      const set = await call(gate, "PUT", "/account/alerts", {
        ...ON,
        webhook: { url: "https://hooks.example.com/in" },
      });
      expect(set.status).toBe(200);
      expect(await send(gate)).toEqual({ delivered: false, result: "address_not_allowed" });
      expect(receiver.events).toHaveLength(before);
    },
  );

  test("localhost by name leads nowhere", async () => {
    await call(world.gate, "PUT", "/account/alerts", { ...ON, webhook: { url: "https://localhost/" } });
    // A name server may know it, or not.
    const result = expect.stringMatching(/^(address_not_allowed|unreachable)$/);
    expect(await send(world.gate)).toEqual({ delivered: false, result });
  });
});
