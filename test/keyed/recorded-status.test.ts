import type { ServerResponse } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { answers, type Behaviour, type UpstreamCall } from "../support/model-upstream.ts";
import { type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({
    yaml:
      'routes: { "GET /site": { upstream: default, price: "$0.01", tiers: [x402, key] } }\n' +
      "upstreams: { default: { bodyTimeout: 1s } }\n",
  });
});
afterAll(() => shop.close());

function halfThenSilence(_: UpstreamCall, res: ServerResponse): void {
  res.writeHead(200, { "Content-Type": "application/json" }).write('{"half":');
}

test.each<[string, Behaviour, number, number]>([
  ["whose body breaks off", answers.halfJson, 502, 200],
  ["whose body stops coming", halfThenSilence, 504, 200],
  ["that is refused", answers.json(404, {}), 404, 404],
  ["that is a server's error", answers.failure(), 502, 500],
  ["that is good", answers.good, 200, 200],
])(
  "the record of an answer %s has the status that its caller got, and the upstream's",
  async (_, behaviour, status, upstreamStatus) => {
    const { account, headers } = await shop.customer(10_000n);
    shop.upstream.next(behaviour);
    const answer = await fetch(`${shop.url}/site`, { headers });
    await answer.text();
    expect(answer.status).toBe(status);
    await expect.poll(() => shop.usageOf(account)).toMatchObject([{ status, upstreamStatus }]);
  },
);
