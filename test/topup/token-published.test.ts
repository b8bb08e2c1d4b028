import {
  checkEndpointSchema,
  getOpenAPI,
  getProbe,
  getWarningsForOpenAPI,
  isOpenApiParseFailure,
  validatePaymentRequiredDetailed,
} from "@agentcash/discovery";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { post, termsOf } from "../support/buyer.ts";
import { openTokenShop, type TokenShop, yamlOf } from "./token-shop.ts";

let shop: TokenShop;
beforeAll(async () => {
  shop = await openTokenShop();
});
afterAll(() => shop.close());

interface Item {
  readonly resource: { readonly url: string };
  readonly accepts: readonly Record<string, unknown>[];
}

async function published(path: string): Promise<Item | undefined> {
  const { items } = (await (await fetch(`${shop.url}/.well-known/x402`)).json()) as { items: Item[] };
  return items.find(({ resource }) => resource.url === shop.url + path);
}

/** Without what every challenge makes anew. */
async function live(path: string): Promise<unknown[]> {
  const { accepts } = termsOf(await fetch(shop.url + path, post({})));
  return accepts.map(({ extra, ...offer }) => {
    const { token: _token, memo: _memo, ...shown } = extra as Record<string, unknown>;
    return { ...offer, extra: shown };
  });
}

test.each(["/topup", "/keys"])(
  "/.well-known/x402 has the live terms of %s, each token among them",
  async (path) => {
    const item = await published(path);
    expect(item?.accepts).toHaveLength(3);
    expect(item?.accepts).toEqual(await live(path));
  },
);

test.each([1, 2, 3])("the headers of a 402 with %i tokens fit a proxy's buffer of 4 KiB", async (count) => {
  const third = await shop.localnet.createMint({ program: "token", decimals: 6 });
  await shop.localnet.createTokenAccount(shop.localnet.merchant, third);
  const all = [shop.classic, shop.play, { ...shop.classic, symbol: "LONGEST16LETTERS", mint: third }];
  await shop.restart(yamlOf(all.slice(0, count)));
  for (const path of ["/topup", "/keys"]) {
    const response = await fetch(shop.url + path, post({ amount: "2.00" }));
    expect(termsOf(response).accepts).toHaveLength(1 + count);
    const head = [...response.headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
    expect(head.length).toBeLessThan(4_096);
  }
  await shop.restart(yamlOf([shop.classic, shop.play]));
});

test("/openapi.json names the tokens where credit is sold, and nowhere else", async () => {
  const document = (await (await fetch(`${shop.url}/openapi.json`)).json()) as {
    paths: Record<string, { post?: Record<string, unknown> }>;
  };
  const { classic, play } = shop;
  const otherTokens = [classic, play].map(({ symbol, mint, decimals }) => ({
    symbol,
    asset: mint,
    decimals,
  }));
  for (const [path, { post: operation }] of Object.entries(document.paths)) {
    const info = operation?.["x-payment-info"] as { otherTokens?: unknown } | undefined;
    const sold = path === "/topup" || path === "/keys";
    expect([path, info?.otherTokens]).toEqual([path, sold ? otherTokens : undefined]);
  }
});

test("@agentcash/discovery has nothing to object to, and finds every asset", async () => {
  const source = (await getOpenAPI(shop.url))._unsafeUnwrap();
  if (source === null || isOpenApiParseFailure(source)) throw new Error(JSON.stringify(source));
  expect(getWarningsForOpenAPI(source)).toEqual([]);
  for (const path of ["/topup", "/keys"]) {
    const probes = (await getProbe(shop.url + path))._unsafeUnwrap();
    const probe = probes.find(({ method }) => method === "POST");
    const result = validatePaymentRequiredDetailed(probe?.paymentRequiredBody);
    expect(result).toMatchObject({ valid: true, version: 2, issues: [] });
    const checked = await checkEndpointSchema({ url: shop.url + path, probe: true });
    if (!checked.found) throw new Error(checked.message);
    const advisory = checked.advisories.find(({ method }) => method === "POST");
    const assets = [shop.localnet.asset, shop.classic.mint, shop.play.mint];
    expect(advisory?.paymentOptions).toMatchObject(assets.map((asset) => ({ protocol: "x402", asset })));
  }
});

test("/llms.txt says what else can be paid in", async () => {
  const text = await (await fetch(`${shop.url}/llms.txt`)).text();
  const { classic, play } = shop;
  const words = `In USDC, or in CLASSIC (${classic.mint}) or PLAY (${play.mint}).`;
  expect(text.split(words)).toHaveLength(3);
});

test("a token whose price goes stale while the gateway runs is in no document any more", async () => {
  const minute = 60_000;
  const pricedAt = new Date(Date.now() - 59 * minute).toISOString();
  await shop.restart(yamlOf([shop.classic, { ...shop.play, pricedAt, maxAgeHours: 1 }]));
  const documents = ["/.well-known/x402", "/openapi.json", "/llms.txt"];
  const text = async (path: string) => (await fetch(shop.url + path)).text();
  for (const path of documents) expect(await text(path)).toContain(shop.play.mint);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2 * minute });
  try {
    for (const path of documents) {
      expect(await text(path)).not.toContain(shop.play.mint);
      expect(await text(path)).toContain(shop.classic.mint);
    }
    expect((await published("/topup"))?.accepts).toEqual(await live("/topup"));
  } finally {
    vi.useRealTimers();
  }
});
