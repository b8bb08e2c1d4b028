import type { ModelPrice, PublishedRoute } from "./types.ts";

/** `gpt: $0.15 per million input tokens, $0.60 per million output tokens`. */
export function modelPriceText(price: ModelPrice): string {
  return price.unit === "call"
    ? `${price.model}: $${price.price} per call`
    : `${price.model}: $${price.input} per million input tokens, $${price.output} per million output tokens`;
}

/** Says that `amount` is not what every request costs; undefined: it is. */
export function dynamicPriceNote(route: PublishedRoute): string | undefined {
  const { quoted, leastUsd, mostUsd } = route;
  if (quoted !== true) return undefined;
  if (leastUsd !== undefined && mostUsd !== undefined) {
    return `Price: what the request names, $${leastUsd} to $${mostUsd}; the listed amount is for one that names none.`;
  }
  return "Price: by the model and its tokens, see /v1/models; the listed amount is for an empty request, and the 402 quotes each.";
}
