import { afterAll, beforeAll, expect, test } from "vitest";
import { type KeyedShop, openKeyedShop } from "../keyed/keyed-shop.ts";
import { termsOf } from "../support/buyer.ts";

/** Where the model decides the price, no document may state the route's. */
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({
    yaml: `
routes:
  "GET /report/:id": { upstream: default, price: "$0.05", description: ${"d".repeat(490)} }
`,
  });
});
afterAll(() => shop.close());

const PRICED = ["/agent", "/v1/chat/completions", "/v1/embeddings"];
const PRICES =
  "The price is the model's: gpt-test: $1.00 per million input tokens, $2.00 per million output tokens; flat-test: $0.01 per call.";

test("/llms.txt has each model's price", async () => {
  const lines = (await (await fetch(`${shop.url}/llms.txt`)).text()).split("\n");
  for (const path of PRICED) {
    const line = lines.find((each) => each.startsWith(`- \`POST ${shop.url}${path}\``));
    expect(line).toContain(PRICES);
    expect(line).toContain("Its 402 quotes each request.");
    expect(line).not.toContain("$0.02");
  }
  expect(lines.find((each) => each.includes("/report/"))).toContain("$0.05 per call.");
});

interface X402Item {
  readonly resource: { readonly url: string; readonly description: string };
  readonly accepts: readonly Record<string, unknown>[];
}

test("/.well-known/x402 keeps the live amount, and its description says that the price depends on the request", async () => {
  const { items } = (await (await fetch(`${shop.url}/.well-known/x402`)).json()) as { items: X402Item[] };
  const at = (path: string): X402Item | undefined =>
    items.find(({ resource }) => resource.url === shop.url + path);
  for (const path of PRICED) {
    const live = termsOf(await fetch(shop.url + path, { method: "POST" }));
    expect(at(path)?.accepts[0]?.["amount"]).toBe(live.accepts[0]?.["amount"]);
    expect(at(path)?.resource.description).toMatch(
      /\. Price: by the model and its tokens, see \/v1\/models; the listed amount is for an empty request, and the 402 quotes each\.$/,
    );
  }
  expect(at("/topup")?.resource.description).toMatch(/Price: what the request names, \$1\.00 to \$1000\.00;/);
  expect(at("/report/:id")?.resource.description).not.toContain("Price:");
});

test("/openapi.json says that the price is dynamic", async () => {
  const { paths } = (await (await fetch(`${shop.url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { "x-payment-info": { price: unknown } }>>;
  };
  for (const path of PRICED) {
    expect(paths[path]?.["post"]?.["x-payment-info"].price).toEqual({ mode: "dynamic", currency: "USD" });
  }
});
