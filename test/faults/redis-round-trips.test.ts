import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { readScripts } from "../../server/ledger/redis-scripts.ts";
import { chat } from "../keyed/keyed-shop.ts";
import { type Auditor, createAuditor, openForBusiness } from "./audit.ts";
import { openRedisShop, type RedisShop } from "./redis-shop.ts";

let place: RedisShop;
let auditor: Auditor;
let monitor: Socket;
/** What was sent to Redis and over which connection: scripts by their name. */
const sent: { readonly name: string; readonly source: string }[] = [];
/** The connection that calls go over; sweeps, of which some begin with the gateway, have their own. */
let calls = "";

beforeAll(async () => {
  // No sweep and no renewal falls into a test.
  vi.useFakeTimers({ toFake: ["setInterval"] });
  place = await openRedisShop();
  await openForBusiness(place.shop.url);
  auditor = createAuditor(place.shop);
  const names = new Map([...readScripts()].map(([name, { sha }]) => [sha, name]));
  monitor = await listen(place.redis.url, (words, source) => {
    // What a script does inside costs no round trip.
    if (source !== "lua") sent.push({ name: names.get(words[1] ?? "") ?? words[0] ?? "", source });
  });
  await sentUntil("hold", await keyedCall());
  calls = sent.find(({ name }) => name === "hold")?.source ?? "";
});
afterAll(async () => {
  vi.useRealTimers();
  monitor.destroy();
  await auditor.close();
  await place.close();
});

/**
 * Has Redis tell every command and who sent it. Over a socket of its own: the driver takes a line that comes in one read with the
 * answer to MONITOR for the answer to a command that nobody sent.
 */
async function listen(
  url: string,
  hear: (words: readonly string[], source: string) => void,
): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  const lines = createInterface({ input: socket });
  const begun = once(lines, "line");
  lines.on("line", (line) => {
    const [, source = "", rest = ""] = /^\+[\d.]+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? [];
    const words = [...rest.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word = ""]) => word);
    if (words.length > 0) hear(words, source);
  });
  socket.write("MONITOR\r\n");
  await begun;
  return socket;
}

/** What is sent for calls from now until `last` was sent. */
async function sentUntil(last: string, call: () => Promise<void>): Promise<readonly string[]> {
  await place.admin.call("ECHO", "begin");
  await vi.waitUntil(() => wasSent("ECHO"), { interval: 1, timeout: 5_000 });
  sent.length = 0;
  await call();
  await vi.waitUntil(() => wasSent(last), { interval: 1, timeout: 5_000 });
  // Whatever was sent before this has been seen by the time it is.
  await place.admin.call("ECHO", "end");
  await vi.waitUntil(() => wasSent("ECHO"), { interval: 1, timeout: 5_000 });
  return sent.filter(({ source }) => source === calls).map(({ name }) => name);
}

function wasSent(wanted: string): boolean {
  return sent.some(({ name }) => name === wanted);
}

async function keyedCall(): Promise<() => Promise<void>> {
  const buyer = await place.shop.customer(1_000_000n);
  return async () => {
    const init = { method: "POST", headers: buyer.headers, body: chat("hello") };
    const response = await fetch(`${place.shop.url}/v1/chat/completions`, init);
    expect(response.status).toBe(200);
    await response.text();
  };
}

test("a keyed call: two round trips", async () => {
  const call = await keyedCall();
  for (let count = 0; count < 3; count += 1) {
    expect(await sentUntil("capture", call)).toEqual(["hold", "capture"]);
  }
});

test("a call by wallet: three before its first byte, and one after its last", async () => {
  for (let count = 0; count < 3; count += 1) {
    const sale = await auditor.sell();
    const call = async () => {
      const headers = { ...(sale.init.headers as Record<string, string>), ...sale.payment };
      const response = await fetch(sale.url, { ...sale.init, headers });
      expect(response.status).toBe(200);
      await response.text();
    };
    expect(await sentUntil("finish", call)).toEqual(["claim", "begin-settle", "settled", "finish"]);
  }
});

test("an unpaid call: none", async () => {
  const ask = async () => {
    const init = { method: "POST", body: chat("hello"), headers: { "content-type": "application/json" } };
    expect((await fetch(`${place.shop.url}/v1/chat/completions`, init)).status).toBe(402);
    await place.admin.call("SELECT", "0");
  };
  expect(await sentUntil("SELECT", ask)).toEqual([]);
});
