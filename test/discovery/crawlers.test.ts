import {
  checkEndpointSchema,
  checkL2ForOpenAPI,
  checkL4ForOpenAPI,
  discoverOriginSchema,
  GuidanceMode,
  getL3,
  getOpenAPI,
  getProbe,
  getWarningsForFavicon,
  getWarningsForL2,
  getWarningsForL3,
  getWarningsForL4,
  getWarningsForOpenAPI,
  isOpenApiParseFailure,
  type OpenApiSource,
  PaymentInfoSchema,
  validatePaymentRequiredDetailed,
} from "@agentcash/discovery";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bracePath, colonPath } from "../../well-known/route-template.ts";
import { FREE, listen, PUBLISHED, type Stand, standApp } from "./stand.ts";

let stand: Stand;
beforeAll(async () => {
  stand = await listen(standApp());
});
afterAll(() => stand.close());

const named = PUBLISHED.map((route) => [`${route.method} ${route.path}`, route] as const);

async function openApi(): Promise<OpenApiSource> {
  const found = (await getOpenAPI(stand.url))._unsafeUnwrap();
  if (found === null || isOpenApiParseFailure(found)) throw new Error(JSON.stringify(found));
  return found;
}

describe("@agentcash/discovery", () => {
  it("finds every route with its price", async () => {
    const found = await discoverOriginSchema({ target: stand.url, guidance: GuidanceMode.Always });
    if (!found.found) throw new Error(found.message);
    expect(found.info).toMatchObject({ title: "Example Agents", contactEmail: "api@example.com" });
    expect(found.guidance).toContain("402");
    for (const route of PUBLISHED) {
      const key = `${stand.url} ${route.method} ${bracePath(route.path)}`;
      expect(found.endpoints.find((endpoint) => endpoint.resourceKey === key)).toMatchObject({
        authMode: "paid",
        price: `${route.priceUsd} USD`,
        pricingMode: "fixed",
        currency: "USD",
        protocols: ["x402"],
      });
    }
    for (const { path } of FREE) {
      const endpoint = found.endpoints.find((entry) => entry.path === path);
      expect(endpoint).toMatchObject({ authMode: "unprotected" });
      expect(endpoint).not.toHaveProperty("price");
    }
    expect(found.endpoints).toHaveLength(PUBLISHED.length + FREE.length);
  });

  it("audits the OpenAPI document without a word", async () => {
    const source = await openApi();
    expect(getWarningsForOpenAPI(source)).toEqual([]);
    expect(getWarningsForL2(checkL2ForOpenAPI(source))).toEqual([]);
    expect(getWarningsForL4(checkL4ForOpenAPI(source))).toEqual([]);
    for (const route of PUBLISHED.filter((entry) => entry.path !== "/motd")) {
      expect(getWarningsForL3(getL3(source, [], bracePath(route.path), route.method as "GET"))).toEqual([]);
    }
  });

  it("finds an icon to show", async () => {
    expect((await getWarningsForFavicon(stand.url))._unsafeUnwrap()).toEqual([]);
  });

  it("takes our x-payment-info by its strict schema", async () => {
    const { paths } = (await openApi()).raw as {
      paths: Record<string, Record<string, Record<string, unknown>>>;
    };
    for (const route of PUBLISHED) {
      const info = paths[bracePath(route.path)]?.[route.method.toLowerCase()]?.["x-payment-info"];
      expect(PaymentInfoSchema.strict().parse(info)).toEqual(info);
    }
  });

  describe.each(named)("%s", (_name, route) => {
    const path = colonPath(route.path);

    it("answers 402 at its listed URL, with the published terms", async () => {
      const probes = (await getProbe(stand.url + path))._unsafeUnwrap();
      const probe = probes.find((entry) => entry.method === route.method);
      expect(probe?.authHint).toBe("paid");
      const live = probe?.paymentRequiredBody as { accepts: Record<string, unknown>[] };
      const answer = await fetch(`${stand.url}/.well-known/x402`);
      const document = (await answer.json()) as { items: { accepts: Record<string, unknown>[] }[] };
      const item = document.items[PUBLISHED.indexOf(route)];
      expect(live.accepts).toHaveLength(1);
      expect(item?.accepts).toHaveLength(1);
      expect(live.accepts[0]).toMatchObject(item?.accepts[0] ?? {});
    });

    it("sends a challenge without a single issue", async () => {
      const probes = (await getProbe(stand.url + path))._unsafeUnwrap();
      const probe = probes.find((entry) => entry.method === route.method);
      const result = validatePaymentRequiredDetailed(probe?.paymentRequiredBody);
      expect(result.issues).toEqual([]);
      expect(result).toMatchObject({
        valid: true,
        version: 2,
        normalized: { hasInputSchema: true, hasOutputSchema: true },
      });
    });

    it("can be inspected as an agent does before it buys", async () => {
      const checked = await checkEndpointSchema({ url: stand.url + path, probe: true });
      if (!checked.found) throw new Error(checked.message);
      const advisory = checked.advisories.find((entry) => entry.method === route.method);
      expect(advisory).toMatchObject({
        authMode: "paid",
        paymentOptions: [{ protocol: "x402", version: 2, amount: route.amount, payTo: route.payTo }],
      });
      expect(getWarningsForL3(advisory ?? null)).toEqual([]);
    });
  });
});
