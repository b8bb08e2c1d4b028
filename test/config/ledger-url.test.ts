import { expect, test } from "vitest";
import { loadConfig } from "../../server/load-config.ts";

function load(env: Readonly<Record<string, string>>) {
  return loadConfig({ env, cwd: "/srv", readFile: () => undefined });
}

test.each([
  "redis://127.0.0.1:6379",
  "redis://user:pass%20word@redis.example.com:6380/2",
  "rediss://redis.example.com",
  "redis-cluster://a.example.com:6379,b.example.com:6379,c.example.com",
  "redis-cluster://user:secret@a.example.com:6379,b.example.com:6379/",
])("%s is a ledger", (url) => {
  expect(load({ LEDGER_URL: url })).toMatchObject({ config: { ledger: { url, acceptDataLoss: false } } });
});

test.each([
  "127.0.0.1:6379",
  "http://redis.example.com",
  "redis://",
  "redis-cluster://",
  "redis-cluster://a,,b",
  "redis-cluster://a,b c",
])("%s is refused at start, by the name of the setting", (url) => {
  const result = load({ LEDGER_URL: url });
  expect(result).toMatchObject({
    problems: [{ path: "LEDGER_URL", message: expect.stringContaining("redis-cluster://") }],
  });
});

test("without it the ledger is in the data directory", () => {
  expect(load({})).toMatchObject({
    config: { ledger: { url: undefined, acceptDataLoss: false, responseBytes: 256 * 1024 * 1024 } },
  });
});
