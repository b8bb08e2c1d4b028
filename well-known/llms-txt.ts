import { modelPriceText } from "./model-prices.ts";
import { guidanceOf, oneLine, takesX402, urlOf } from "./resource.ts";
import { bracePath } from "./route-template.ts";
import type { FreeRoute, PublishedRoute, Service } from "./types.ts";

/** `/llms.txt` (llmstxt.org): the offer as an agent reads it, in Markdown. */
export function llmsTxt(
  service: Service,
  routes: readonly PublishedRoute[],
  freeRoutes: readonly FreeRoute[],
): string {
  const documents = [
    link(service, "/openapi.json", "OpenAPI 3.1, with prices and input schemas"),
    link(service, "/.well-known/x402", "every paid endpoint with its payment terms"),
    ...(service.docsUrl === undefined ? [] : [`- [Documentation](${service.docsUrl})`]),
  ];
  return [
    `# ${oneLine(service.name)}`,
    `> ${oneLine(service.description)}`,
    guidanceOf(service).trim(),
    section(
      "Paid endpoints",
      routes.map((route) => pricedLine(service, route)),
    ),
    section(
      "Free endpoints",
      freeRoutes.map((route) => `- \`${endpoint(service, route)}\`: ${oneLine(route.description)}`),
    ),
    section("Documents", documents),
    ...(service.contactEmail === undefined ? [] : [`Contact: ${service.contactEmail}`]),
  ]
    .filter((part) => part !== "")
    .join("\n\n")
    .concat("\n");
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : [`## ${title}`, "", ...lines].join("\n");
}

function link(service: Service, path: string, text: string): string {
  return `- [${path}](${urlOf(service, path)}): ${text}`;
}

function pricedLine(service: Service, route: PublishedRoute): string {
  const models = route.modelPrices === undefined ? (route.models ?? []) : [];
  const offered = models.length === 0 ? "" : ` Models: ${models.join(", ")}.`;
  return `- \`${endpoint(service, route)}\`: ${oneLine(route.description)} ${priceOf(route)}${othersOf(route)}${offered}`;
}

function othersOf({ otherOffers = [] }: PublishedRoute): string {
  const tokens = otherOffers.map(({ symbol, asset }) => `${symbol} (${asset})`);
  return tokens.length === 0 ? "" : ` In USDC, or in ${tokens.join(" or ")}.`;
}

function priceOf(route: PublishedRoute): string {
  const { leastUsd, mostUsd, priceUsd, modelPrices } = route;
  if (leastUsd !== undefined && mostUsd !== undefined) {
    return `You name the amount: $${leastUsd} to $${mostUsd}, or $${priceUsd} if you name none.`;
  }
  if (modelPrices !== undefined) {
    const quote = takesX402(route) ? "Its 402 quotes each request" : "With an API key";
    return `The price is the model's: ${modelPrices.map(modelPriceText).join("; ")}. ${quote}.`;
  }
  return takesX402(route) ? `$${priceUsd} per call.` : `$${priceUsd} per call, with an API key.`;
}

function endpoint(service: Service, route: { readonly method: string; readonly path: string }): string {
  return `${route.method} ${urlOf(service, bracePath(route.path))}`;
}
