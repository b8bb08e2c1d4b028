import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { openKeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer, post } from "../support/buyer.ts";
import { openCreditShop } from "./credit-shop.ts";

const DOCUMENTS = ["/.well-known/x402", "/openapi.json", "/llms.txt"];

describe("where credit is sold", () => {
  let shop: KeyedShop;
  beforeAll(async () => {
    shop = await openCreditShop();
  });
  afterAll(() => shop.close());

  interface Item {
    readonly resource: { readonly url: string };
    readonly accepts: readonly { readonly amount: string }[];
    readonly input: { readonly schema: { readonly properties: Record<string, unknown> } };
  }

  test.each(["/keys", "/topup"])("/.well-known/x402 lists %s at the usual amount", async (path) => {
    const { items } = (await (await fetch(`${shop.url}/.well-known/x402`)).json()) as { items: Item[] };
    const item = items.find(({ resource }) => resource.url === shop.url + path);
    expect(item?.accepts).toMatchObject([{ amount: "1000000", payTo: shop.localnet.merchant }]);
    expect(JSON.stringify(item)).toContain('"amount"');
  });

  test("/openapi.json has their schemas, examples and bounds", async () => {
    const document = (await (await fetch(`${shop.url}/openapi.json`)).json()) as {
      paths: Record<string, { post: Record<string, unknown> }>;
    };
    for (const [path, fields] of [
      ["/keys", ["amount", "label", "limit", "permissions"]],
      ["/topup", ["amount"]],
    ] as const) {
      const operation = document.paths[path]?.post;
      expect(operation).toMatchObject({
        "x-payment-info": { price: { mode: "dynamic", currency: "USD", min: "0.01", max: "2.00" } },
        requestBody: { content: { "application/json": { example: { amount: "1.00" } } } },
        responses: { "200": { content: { "application/json": { example: { amount: "1.00" } } } } },
      });
      const text = JSON.stringify(operation?.["requestBody"]);
      for (const field of fields) expect(text).toContain(`"${field}":{"type"`);
    }
  });

  test("/llms.txt says that the caller names the amount", async () => {
    const text = await (await fetch(`${shop.url}/llms.txt`)).text();
    const amount = "You name the amount: $0.01 to $2.00, or $1.00 if you name none.";
    for (const path of ["/keys", "/topup"]) {
      expect(text).toContain(`- \`POST ${shop.url}${path}\`: Pay an amount onto your wallet's account`);
    }
    expect(text.split(amount)).toHaveLength(3);
  });

  test("the published example is a call that can be bought", async () => {
    const document = (await (await fetch(`${shop.url}/openapi.json`)).json()) as {
      paths: Record<string, { post: { requestBody: { content: Record<string, { example: unknown }> } } }>;
    };
    for (const path of ["/keys", "/topup"]) {
      const example = document.paths[path]?.post.requestBody.content["application/json"]?.example;
      const buyer = await createBuyer(shop);
      expect((await buyer.fetch(shop.url + path, post(example))).status).toBe(200);
    }
  });
});

describe.each([
  ["topup: null\n", "is switched off"],
  ["tiers: [x402]\n", "is for keys, which nobody takes here"],
])("where credit %s", (yaml) => {
  let shop: KeyedShop;
  beforeAll(async () => {
    shop = await openKeyedShop({ yaml });
  });
  afterAll(() => shop.close());

  test.each(["/keys", "/topup"])("POST %s is 404", async (path) => {
    expect((await fetch(shop.url + path, post({}))).status).toBe(404);
  });

  test.each(DOCUMENTS)("%s names neither route", async (path) => {
    const text = await (await fetch(shop.url + path)).text();
    expect(text).not.toContain(`${shop.url}/keys`);
    expect(text).not.toContain('"/keys"');
    expect(text).not.toContain("topup");
  });
});
