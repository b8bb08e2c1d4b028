import {
  ACCOUNT_OPERATIONS,
  accountOperation,
  accountSchemas,
  accountSecuritySchemes,
  type SessionCookies,
} from "./account-operations.ts";
import { hasBody, inputSchema, jsonType } from "./bazaar.ts";
import { type Detail, DOCUMENT_MAX_BYTES, firstWithin } from "./fit.ts";
import { isObject, shallow } from "./json-schema.ts";
import { guidanceOf, labels, oneLine, takesX402, urlOf } from "./resource.ts";
import { bracePath, pathParams } from "./route-template.ts";
import { sampleOf } from "./sample.ts";
import type { FreeRoute, JsonObject, PublishedRoute, Service } from "./types.ts";

/** One operation and where it belongs. */
interface Operation {
  readonly path: string;
  readonly method: string;
  readonly operation: JsonObject;
}

/** Named so because crawlers recognise an API key by this very name. */
const KEY_SCHEME = "apiKey";

/**
 * `/openapi.json` (OpenAPI 3.1), the document x402scan and `@agentcash/discovery` read. Every operation a wallet can pay for
 * has `security: []` and an `x-payment-info` whose amount is a decimal string in USD; one that takes only keys names the
 * bearer scheme and has no price, for a caller without a key cannot buy it. Falls back to a brief form beyond 256 KiB.
 * `cookies`: sign-in and the account API are on, and these are the names of a session's.
 */
export function openApiDocument(
  service: Service,
  routes: readonly PublishedRoute[],
  freeRoutes: readonly FreeRoute[],
  cookies?: SessionCookies,
): JsonObject {
  const operations = cookies === undefined ? [] : accountOperationsFor(routes.length + freeRoutes.length);
  const paths = (detail: Detail) => [
    ...routes.map((route) => pricedOperation(route, detail)),
    ...freeRoutes.map(freeOperation),
    ...operations,
  ];
  const components = componentsOf(routes, cookies);
  const brief = () => build(service, paths("brief"), components);
  return firstWithin(DOCUMENT_MAX_BYTES, [() => build(service, paths("full"), components)]) ?? brief();
}

/** Crawlers warn agents of a document that has more. What is sold comes first; the account API has what room is left. */
const MOST_OPERATIONS = 40;

function accountOperationsFor(others: number): readonly Operation[] {
  return ACCOUNT_OPERATIONS.slice(0, Math.max(0, MOST_OPERATIONS - others)).map((each) => {
    const path = bracePath(each.path);
    const operation = { operationId: operationId(each.method, path), ...accountOperation(each) };
    return { path, method: each.method, operation };
  });
}

function componentsOf(routes: readonly PublishedRoute[], cookies: SessionCookies | undefined): JsonObject {
  const keyed = routes.some((route) => !takesX402(route));
  if (!keyed && cookies === undefined) return {};
  const bearer = { [KEY_SCHEME]: { type: "http", scheme: "bearer" } };
  const securitySchemes = {
    ...(keyed ? bearer : {}),
    ...(cookies === undefined ? {} : accountSecuritySchemes(cookies)),
  };
  const schemas = cookies === undefined ? {} : { schemas: accountSchemas() };
  return { components: { securitySchemes, ...schemas } };
}

function build(service: Service, operations: readonly Operation[], components: JsonObject): JsonObject {
  const { contactEmail, docsUrl } = service;
  const llms = urlOf(service, "/llms.txt");
  return {
    openapi: "3.1.0",
    info: {
      title: service.name,
      version: service.updatedAt.toISOString().slice(0, 10),
      description: service.description,
      "x-guidance": guidanceOf(service),
      ...(contactEmail === undefined ? {} : { contact: { email: contactEmail } }),
    },
    ...(docsUrl === undefined ? {} : { externalDocs: { url: docsUrl } }),
    servers: [{ url: urlOf(service, "") }],
    "x-service-info": {
      categories: labels(service.tags),
      docs: {
        ...(docsUrl === undefined ? {} : { homepage: docsUrl }),
        apiReference: urlOf(service, "/openapi.json"),
        llms,
      },
    },
    "x-agentcash-guidance": { llmsTxtUrl: llms },
    paths: pathItems(operations),
    ...components,
  };
}

function pathItems(operations: readonly Operation[]): JsonObject {
  const paths = new Map<string, Record<string, JsonObject>>();
  for (const { path, method, operation } of operations) {
    paths.set(path, { ...paths.get(path), [method.toLowerCase()]: operation });
  }
  return Object.fromEntries(paths);
}

function pricedOperation(route: PublishedRoute, detail: Detail): Operation {
  const path = bracePath(route.path);
  const payable = takesX402(route);
  const schema = detail === "full" ? inputSchema(route) : shallow(inputSchema(route));
  const body = hasBody(route.method);
  const parameters = [...pathParameters(route.path), ...(body ? [] : queryParameters(schema))];
  const operation = {
    operationId: operationId(route.method, path),
    summary: summaryOf(route.description),
    description: route.description,
    tags: labels(route.tags),
    security: payable ? [] : [{ [KEY_SCHEME]: [] }],
    ...(payable ? { "x-payment-info": paymentInfo(route) } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body ? { requestBody: requestBody(schema, detail) } : {}),
    responses: responses(route, detail),
  };
  return { path, method: route.method, operation };
}

function freeOperation(route: FreeRoute): Operation {
  const path = bracePath(route.path);
  const parameters = pathParameters(route.path);
  const operation = {
    operationId: operationId(route.method, path),
    summary: summaryOf(route.description),
    description: route.description,
    security: [],
    ...(parameters.length === 0 ? {} : { parameters }),
    responses: { "200": { description: "The answer.", content: { [route.mimeType]: { schema: {} } } } },
  };
  return { path, method: route.method, operation };
}

function paymentInfo(route: PublishedRoute): JsonObject {
  return {
    price:
      route.quoted === true
        ? { mode: "dynamic", currency: "USD", ...bounds(route) }
        : { mode: "fixed", currency: "USD", amount: route.priceUsd },
    protocols: [{ x402: {} }],
    ...tokensOf(route),
  };
}

/** What it can be paid in besides USDC. */
function tokensOf({ otherOffers = [] }: PublishedRoute): JsonObject {
  if (otherOffers.length === 0) return {};
  return { otherTokens: otherOffers.map(({ symbol, asset, decimals }) => ({ symbol, asset, decimals })) };
}

function bounds({ leastUsd, mostUsd }: PublishedRoute): JsonObject {
  return leastUsd === undefined || mostUsd === undefined ? {} : { min: leastUsd, max: mostUsd };
}

function requestBody(schema: JsonObject, detail: Detail): JsonObject {
  const example = detail === "full" ? { example: sampleOf(schema) } : {};
  return { required: true, content: { "application/json": { schema, ...example } } };
}

function responses(route: PublishedRoute, detail: Detail): JsonObject {
  const example = detail === "full" ? route.outputExample : undefined;
  const type = jsonType(route.outputExample);
  const required = { description: "x402 v2 `PaymentRequired`, base64 of JSON.", schema: { type: "string" } };
  const receipt = {
    description: "x402 v2 `SettlementResponse`, base64 of JSON.",
    schema: { type: "string" },
  };
  return {
    "200": {
      description: "The answer.",
      ...(takesX402(route) ? { headers: { "PAYMENT-RESPONSE": receipt } } : {}),
      content: {
        [route.mimeType]: {
          schema: type === undefined ? {} : { type },
          ...(example === undefined ? {} : { example }),
        },
      },
    },
    ...(takesX402(route)
      ? {}
      : {
          "401": {
            description: "No key, or none that is good",
            content: { "application/json": { schema: { type: "object" } } },
          },
        }),
    "402": {
      description: "Payment Required",
      ...(takesX402(route) ? { headers: { "PAYMENT-REQUIRED": required } } : {}),
      content: { "application/json": { schema: { type: "object" } } },
    },
  };
}

function pathParameters(pattern: string): readonly JsonObject[] {
  return pathParams(pattern).map((name) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

function queryParameters(schema: JsonObject): readonly JsonObject[] {
  const { properties, required } = schema;
  if (!isObject(properties)) return [];
  const needed = new Set(Array.isArray(required) ? required : []);
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: "query",
    required: needed.has(name),
    schema: property,
  }));
}

function operationId(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== "");
  return [method.toLowerCase(), ...words].join("_");
}

function summaryOf(description: string): string {
  const line = oneLine(description);
  return /^.{1,119}?[.!?](?=\s|$)/u.exec(line)?.[0] ?? line.slice(0, 120);
}
