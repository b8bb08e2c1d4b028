import { colonPath } from "./route-template.ts";
import type { PublishedRoute, Service } from "./types.ts";

/** x402 v2 `resource` object with the service metadata of specs/extensions/bazaar.md. */
export interface ResourceInfo {
  readonly url: string;
  readonly description: string;
  readonly mimeType: string;
  readonly serviceName?: string;
  readonly tags?: readonly string[];
}

/** One entry of `accepts`, without the token and memo that every live challenge adds to `extra`. */
export interface Accept {
  readonly scheme: "exact";
  readonly network: string;
  readonly amount: string;
  readonly asset: string;
  readonly payTo: string;
  readonly maxTimeoutSeconds: number;
  readonly extra: { readonly feePayer: string; readonly symbol?: string; readonly decimals?: number };
}

const DESCRIPTION_MAX = 500;
const DESCRIPTION_MAX_BYTES = 900;
const LABEL_MAX = 32;
const TAGS_MAX = 5;
const GUIDANCE_MAX = 4_000;

/** An absolute URL below `publicUrl`; `path` begins with a slash. */
export function urlOf(service: Service, path: string): string {
  return service.publicUrl.replace(/\/+$/, "") + path;
}

/** Whether a wallet can pay for the route. Only such routes are x402 resources. */
export function takesX402(route: PublishedRoute): boolean {
  return route.tiers.includes("x402");
}

/**
 * The `resource` of a route, for the documents and for the live 402: service name of at most 32 characters and five tags of
 * at most 32, all in printable ASCII (others are silently dropped by the facilitators that index them). A route without tags
 * has the service's. `note` ends the description, whatever its length.
 */
export function resourceOf(service: Service, route: PublishedRoute, note?: string): ResourceInfo {
  const serviceName = label(service.name);
  const tags = labels(route.tags.length > 0 ? route.tags : service.tags);
  return {
    url: urlOf(service, colonPath(route.path)),
    description: resourceDescription(route, note),
    mimeType: route.mimeType,
    ...(serviceName === "" ? {} : { serviceName }),
    ...(tags.length === 0 ? {} : { tags }),
  };
}

/** The route's description as its `resource` has it: at most 500 characters, and 900 bytes, for it shares a header. */
export function resourceDescription(route: PublishedRoute, note?: string): string {
  const end = note === undefined ? "" : ` ${note}`;
  const clipped = clip(route.description, DESCRIPTION_MAX - end.length);
  return clipBytes(clipped, DESCRIPTION_MAX_BYTES - end.length) + end;
}

/** The route's `accepts`; undefined while the terms are not complete or when no wallet can pay. */
export function acceptsOf(route: PublishedRoute): readonly Accept[] | undefined {
  if (route.feePayer === undefined || !takesX402(route)) return undefined;
  const { network, amount, asset, payTo, maxTimeoutSeconds, feePayer } = route;
  const usdc: Accept = {
    ...{ scheme: "exact", network, amount, asset, payTo, maxTimeoutSeconds },
    extra: { feePayer },
  };
  const others = (route.otherOffers ?? []).map(({ symbol, decimals, ...offer }) => {
    return { ...usdc, ...offer, extra: { feePayer, symbol, decimals } };
  });
  return [usdc, ...others];
}

/** At most five tags, each once, whatever its case. */
export function labels(tags: readonly string[]): readonly string[] {
  const seen = new Map<string, string>();
  for (const tag of tags.map(label)) {
    const key = tag.toLowerCase();
    if (tag !== "" && !seen.has(key)) seen.set(key, tag);
  }
  return [...seen.values()].slice(0, TAGS_MAX);
}

/** What an agent should know, at most 4,000 characters; how to pay, when the operator wrote nothing. */
export function guidanceOf(service: Service): string {
  const standard =
    "Call a paid endpoint as it is. It answers 402 with its price in the PAYMENT-REQUIRED header (x402 v2). " +
    "Sign the USDC transfer on Solana that it asks for, send the same request again with the PAYMENT-SIGNATURE header " +
    "and read the answer. On 409 or 503 send the same payment again after Retry-After seconds; do not sign a new one.";
  return clip(service.guidance ?? standard, GUIDANCE_MAX);
}

/** The text on one line. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

function label(text: string): string {
  const ascii = text.normalize("NFKD").replace(/[^\x20-\x7e]/g, "");
  return oneLine(ascii).slice(0, LABEL_MAX).trim();
}

function clip(text: string, max: number): string {
  if (text.length <= max) return text;
  return `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}

function clipBytes(text: string, max: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= max) return text;
  return `${bytes
    .subarray(0, max - 3)
    .toString()
    .replace(/\ufffd+$/, "")}…`;
}
