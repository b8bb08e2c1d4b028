import { hasBody, inputSchema } from "./bazaar.ts";
import { type Detail, DOCUMENT_MAX_BYTES, firstWithin } from "./fit.ts";
import { shallow } from "./json-schema.ts";
import { dynamicPriceNote } from "./model-prices.ts";
import { acceptsOf, guidanceOf, resourceOf, takesX402, urlOf } from "./resource.ts";
import type { JsonObject, PublishedRoute, Service } from "./types.ts";

/**
 * `/.well-known/x402`: the routes a wallet can pay for, each with the terms of its live 402.
 *
 * `resources` are URLs as plain strings, each once, because most readers refuse a document with anything else there; what
 * belongs to them is in `items`. Paths with parameters are written `/report/:id` (see `colonPath`). An item whose terms are
 * not known yet has no `accepts`. Where the price depends on the request the description says so, for `amount` is needed and has no
 * other place for it. Falls back to a brief form beyond 256 KiB.
 */
export function x402Document(service: Service, routes: readonly PublishedRoute[]): JsonObject {
  const brief = () => build(service, routes, "brief");
  return firstWithin(DOCUMENT_MAX_BYTES, [() => build(service, routes, "full")]) ?? brief();
}

function build(service: Service, routes: readonly PublishedRoute[], detail: Detail): JsonObject {
  const payable = routes.filter(takesX402);
  const updatedMs = service.updatedAt.getTime();
  return {
    x402Version: 2,
    version: 1,
    kind: "resource-server",
    name: service.name,
    description: service.description,
    resources: [...new Set(payable.map((route) => resourceOf(service, route).url))],
    items: payable.map((route) => item(service, route, detail)),
    ownershipProofs: [],
    instructions: guidanceOf(service),
    openapi: urlOf(service, "/openapi.json"),
    docs: urlOf(service, "/llms.txt"),
    updated: service.updatedAt.toISOString().replace(/\.\d+Z$/, "Z"),
    lastUpdated: Math.floor(updatedMs / 1000),
  };
}

function item(service: Service, route: PublishedRoute, detail: Detail): JsonObject {
  const accepts = acceptsOf(route);
  const schema = detail === "full" ? inputSchema(route) : shallow(inputSchema(route));
  const example = detail === "full" ? route.outputExample : undefined;
  return {
    resource: resourceOf(service, route, dynamicPriceNote(route)),
    type: "http",
    ...(accepts === undefined ? {} : { accepts }),
    input: {
      method: route.method,
      ...(hasBody(route.method) ? { bodyType: "json", body: schema } : { queryParams: schema }),
    },
    output: { mimeType: route.mimeType, ...(example === undefined ? {} : { example }) },
  };
}
