import { readFileSync } from "node:fs";
import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const part = (name: string) =>
  readFileSync(new URL(`../../server/ledger/scripts/${name}.lua`, import.meta.url), "utf8");
/** Every pair of the arguments: sum, difference, whether the first is below the second, the lesser, the first negated. */
const SCRIPT = `${part("lib")}\n${part("money")}
local results = {}
for i = 2, #ARGV, 2 do
  local a, b = ARGV[i], ARGV[i + 1]
  results[#results + 1] = { add(a, b), subtract(a, b), is_below(a, b) and "1" or "0", least(a, b), negated(a) }
end
return results`;

const [LOWEST, HIGHEST] = [-(2n ** 63n), 2n ** 63n - 1n];
/** Where a carry, a borrow or a change of representation may go wrong: the two halves of a number, doubles, 15 and 16 digits. */
const EDGES = [
  0n,
  1n,
  10n ** 9n,
  10n ** 14n,
  10n ** 15n,
  10n ** 16n,
  10n ** 18n,
  2n ** 53n,
  2n ** 62n,
  HIGHEST,
]
  .flatMap((edge) => [edge - 1n, edge, edge + 1n])
  .flatMap((edge) => [edge, -edge])
  .filter((edge) => edge >= LOWEST && edge <= HIGHEST);
const edge = fc.constantFrom(...EDGES);
const halves = fc
  .tuple(fc.bigInt({ min: -(10n ** 9n), max: 10n ** 9n }), fc.constantFrom(0n, 1n, -1n, 999_999_999n))
  .map(([high, low]) => high * 10n ** 9n + low);
const int64 = fc.oneof(
  edge,
  halves,
  fc.bigInt({ min: LOWEST, max: HIGHEST }),
  fc.bigInt({ min: -1000n, max: 1000n }),
);

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

async function compare(pairs: readonly (readonly [bigint, bigint])[]): Promise<void> {
  const words = pairs.flat().map(String);
  const results = await redis.eval(SCRIPT, 1, "fb:{0}", "1700000000000", ...words);
  expect(results).toEqual(pairs.map(([a, b]) => [a + b, a - b, a < b ? 1 : 0, least(a, b), -a].map(String)));
}

test("each edge with each", async () => {
  for (const a of EDGES) await compare(EDGES.map((b) => [a, b] as const));
});

test("any two of 64 bits are added, subtracted and compared as bigint does", async () => {
  const pairs = fc.array(fc.tuple(int64, int64), { minLength: 1, maxLength: 200 });
  await fc.assert(fc.asyncProperty(pairs, compare), { numRuns: 200 });
});

test("numbers that differ in their last digit only", async () => {
  const near = fc.tuple(int64, fc.constantFrom(-1n, 0n, 1n)).map(([a, by]) => [a, a + by] as const);
  await fc.assert(fc.asyncProperty(fc.array(near, { minLength: 1, maxLength: 200 }), compare), {
    numRuns: 100,
  });
});
