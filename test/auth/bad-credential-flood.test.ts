import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createFloodGuard, type FloodGuard } from "../../server/auth/flood.ts";

const LIMIT = { badCredentialsPerMinute: 3 };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "performance", "setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** As requests come: what the library decides is known when the next one is heard. */
async function punish(guard: FloodGuard, address: string, times = 1): Promise<void> {
  for (let i = 0; i < times; i += 1) {
    guard.punish(address);
    await Promise.resolve().then(() => undefined);
    await Promise.resolve().then(() => undefined);
  }
}

test("an address is heard for as many refused credentials as the limit says, and then not until the minute is over", async () => {
  const guard = createFloodGuard(LIMIT);
  expect(guard.blockedForMs("192.0.2.1")).toBe(0);
  await punish(guard, "192.0.2.1", 2);
  expect(guard.blockedForMs("192.0.2.1")).toBe(0);
  vi.advanceTimersByTime(10_000);
  await punish(guard, "192.0.2.1");
  expect(guard.blockedForMs("192.0.2.1")).toBe(50_000);
  vi.advanceTimersByTime(49_999);
  expect(guard.blockedForMs("192.0.2.1")).toBe(1);
  vi.advanceTimersByTime(1);
  expect(guard.blockedForMs("192.0.2.1")).toBe(0);
  await punish(guard, "192.0.2.1", 2);
  expect(guard.blockedForMs("192.0.2.1")).toBe(0);
});

test.each([
  ["before the last refusal", 2],
  ["after it", 3],
])("a clock that is set back by a day %s blocks nobody for longer than a minute", async (_, before) => {
  const guard = createFloodGuard(LIMIT);
  await punish(guard, "192.0.2.1", before);
  vi.setSystemTime(Date.now() - 86_400_000);
  await punish(guard, "192.0.2.1", 3 - before);
  expect(guard.blockedForMs("192.0.2.1")).toBe(60_000);
  vi.advanceTimersByTime(60_000);
  expect(guard.blockedForMs("192.0.2.1")).toBe(0);
  await punish(guard, "192.0.2.1", 2);
  expect(guard.blockedForMs("192.0.2.1")).toBe(0);
});

test("nor does it keep new addresses from being counted", async () => {
  const guard = createFloodGuard(LIMIT, 2);
  await punish(guard, "192.0.2.1");
  await punish(guard, "192.0.2.3");
  vi.setSystemTime(Date.now() - 86_400_000);
  vi.advanceTimersByTime(60_000);
  await punish(guard, "192.0.2.2", 3);
  expect(guard.blockedForMs("192.0.2.2")).toBeGreaterThan(0);
});

test("other addresses are not affected", async () => {
  const guard = createFloodGuard(LIMIT);
  await punish(guard, "192.0.2.1", 3);
  expect(guard.blockedForMs("192.0.2.1")).toBeGreaterThan(0);
  expect(guard.blockedForMs("192.0.2.2")).toBe(0);
  expect(guard.blockedForMs("unknown")).toBe(0);
});

test("an IPv6 client gains nothing by changing its address within its /64", async () => {
  const guard = createFloodGuard(LIMIT);
  await punish(guard, "2001:db8:0:1::1");
  await punish(guard, "2001:db8::1:ffff:0:0:2");
  await punish(guard, "2001:db8:0:1:dead:beef:0:3");
  expect(guard.blockedForMs("2001:db8:0:1::99")).toBeGreaterThan(0);
  expect(guard.blockedForMs("2001:db8:0:2::1")).toBe(0);
});

test("a flood from ever new addresses takes bounded memory and blocks nobody who did nothing", async () => {
  const guard = createFloodGuard(LIMIT, 100);
  for (let i = 0; i < 10_000; i += 1) await punish(guard, `10.0.${i >> 8}.${i & 255}`);
  // Each address that is counted has one timer in the library.
  expect(vi.getTimerCount()).toBe(100);
  expect(guard.blockedForMs("10.0.0.1")).toBe(0);
  expect(guard.blockedForMs("192.0.2.1")).toBe(0);
  vi.advanceTimersByTime(60_000);
  expect(vi.getTimerCount()).toBe(0);
  await punish(guard, "192.0.2.1", 3);
  expect(guard.blockedForMs("192.0.2.1")).toBeGreaterThan(0);
});

test("blocked addresses are answered one each millisecond, and at once when five thousand wait for that", async () => {
  const guard = createFloodGuard(LIMIT);
  let answered = 0;
  const answer = async () => {
    await guard.holdBack();
    answered += 1;
  };
  for (let i = 0; i < 5_001; i += 1) void answer();
  await Promise.resolve();
  expect(answered).toBe(1);
  await answer();
  expect(answered).toBe(2);
  await vi.advanceTimersByTimeAsync(100);
  expect(answered).toBe(102);
  await vi.advanceTimersByTimeAsync(4_900);
  expect(answered).toBe(5_002);
});
