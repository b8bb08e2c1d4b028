import type { LookupAddress } from "node:dns";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isPublicAddress } from "../../server/alerts/public-address.ts";
import { createWebhook, type WebhookOptions } from "../../server/alerts/webhook.ts";
import { openReceiver, type Receiver } from "./alert-stand.ts";

/** A webhook must not become a way to send requests into the operator's own network. */
test.each([
  ...["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"],
  ...["172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1"],
  ...["203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"],
  ...[
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
  ],
  ...[
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
  ],
  ...["fec0::1", "ff02::1", "4000::1", "1234::1"],
  ...["", "localhost", "8.8.8", "fe80::1%lo"],
])("not public: %s", (address) => {
  expect(isPublicAddress(address)).toBe(false);
});

test.each(["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"])(
  "public: %s",
  (address) => {
    expect(isPublicAddress(address)).toBe(true);
  },
);

let inside: Receiver;
let allowed: Receiver;
beforeEach(async () => {
  allowed = await openReceiver("127.0.0.1");
  inside = await openReceiver("127.0.0.2", allowed.port);
});
afterEach(async () => {
  await allowed.close();
  await inside.close();
});

async function sendOnce(options: Partial<WebhookOptions>) {
  const webhook = open(options);
  const result = await webhook.send("alert_1", "{}", new AbortController().signal);
  await webhook.close();
  return result;
}

function open(options: Partial<WebhookOptions>) {
  return createWebhook({
    url: `http://hooks.example:${allowed.port}/`,
    secret: "s".repeat(32),
    allowPrivate: false,
    timeoutMs: 5_000,
    now: Date.now,
    ...options,
  });
}

test.each([
  "http://127.0.0.1:PORT/",
  "http://2130706433:PORT/",
  "http://0x7f.1:PORT/",
  "http://[::1]:PORT/",
  "http://[::ffff:127.0.0.1]:PORT/",
  "http://169.254.169.254/latest/meta-data",
])("an address in the URL itself is refused: %s", async (url) => {
  const result = await sendOnce({ url: url.replace("PORT", String(allowed.port)) });
  expect(result).toEqual({ kind: "failed", reason: "ADDRESS_NOT_ALLOWED" });
  expect(allowed.events).toEqual([]);
});

test("a name of this machine, resolved by the system, is refused", async () => {
  const result = await sendOnce({ url: `http://localhost:${allowed.port}/` });
  expect(result).toEqual({ kind: "failed", reason: "connect_failed:ADDRESS_NOT_ALLOWED" });
  expect(allowed.events).toEqual([]);
});

test("allowed by the operator, it is reached", async () => {
  expect(await sendOnce({ url: `http://127.0.0.1:${allowed.port}/`, allowPrivate: true })).toEqual({
    kind: "delivered",
  });
  const byName = { url: `http://localhost:${allowed.port}/`, allowPrivate: true };
  expect(await sendOnce(byName)).toEqual({ kind: "delivered" });
});

/** 127.0.0.1 stands for a public address, 127.0.0.2 for one inside. */
const isPublic = (address: string) => address === "127.0.0.1";
const addressOf = (address: string): LookupAddress => ({ address, family: 4 });

test("a name that resolves to an address inside at its second connection is refused then", async () => {
  const answers = [[addressOf("127.0.0.1")], [addressOf("127.0.0.2")]];
  allowed.onEvent((res) => res.writeHead(204, { connection: "close" }).end());
  const webhook = open({
    isPublic,
    resolve: (_hostname, _options, callback) => callback(null, answers.shift() ?? []),
  });
  const { signal } = new AbortController();
  expect(await webhook.send("alert_1", "{}", signal)).toEqual({ kind: "delivered" });
  expect(await webhook.send("alert_2", "{}", signal)).toEqual({
    kind: "failed",
    reason: "connect_failed:ADDRESS_NOT_ALLOWED",
  });
  await webhook.close();
  expect(allowed.events[0]?.headers.host).toBe(`hooks.example:${allowed.port}`);
  expect(answers).toEqual([]);
  expect(inside.events).toEqual([]);
});

test("of several addresses only the public ones are tried", async () => {
  const result = await sendOnce({
    isPublic,
    resolve: (_hostname, _options, callback) =>
      callback(null, [addressOf("127.0.0.2"), addressOf("127.0.0.1")]),
  });
  expect(result).toEqual({ kind: "delivered" });
  expect(inside.events).toEqual([]);
});

test("a name that does not resolve is a failure like another", async () => {
  const error: NodeJS.ErrnoException = Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
  const result = await sendOnce({ resolve: (_hostname, _options, callback) => callback(error, []) });
  expect(result).toEqual({ kind: "failed", reason: "connect_failed:ENOTFOUND" });
});
