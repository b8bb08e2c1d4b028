import { randomUUID } from "node:crypto";
import type { PaymentRequirements } from "@x402/core/types";
import type { TopUpToken } from "../config.ts";
import type { ErrorCode } from "../errors.ts";
import type { Route } from "../routes.ts";
import type { AssetOffers } from "./asset-offers.ts";
import type { TermsSource } from "./facilitators.ts";
import { resourcePath } from "./resource-path.ts";
import { bindingFor, requirementsFor, requirementsIn, requirementsV1For, type Terms } from "./terms.ts";
import type { TokenBinding } from "./token.ts";

/** Lengths of what {@link TokenIssuer.issue} yields; each a multiple of 3, so that base64 can be spliced. */
export interface TokenIssuer {
  readonly tokenLength: number;
  readonly memoLength: number;
  issue(binding: TokenBinding): { readonly token: string; readonly memo: string };
}

/**
 * A 402 answer. `headers` is a flat list as `writeHead` takes it; `body` holds one character for each byte and is to be
 * written as latin1, which Node does without looking at each character.
 */
export interface Challenge {
  readonly headers: string[];
  readonly body: string;
}

export interface ChallengeOptions {
  readonly terms: Pick<TermsSource, "current">;
  readonly tokens: TokenIssuer;
  /** What credit can be paid in besides USDC. */
  readonly assets: Pick<AssetOffers, "current">;
  readonly publicUrl: string;
  /** `resource` of a route's PaymentRequired, but for its url. */
  readonly resource: (route: Route) => object;
  /** Answer with the v1 envelope as body; false = the v2 object. */
  readonly v1: boolean;
  /** `extensions` of a route's PaymentRequired, in so many bytes less than usual if possible. */
  readonly extensions: (route: Route, lessBytes: number) => Readonly<Record<string, unknown>>;
  /** Sent with every challenge (CORS). */
  readonly headers: readonly string[];
}

/** Builds 402s. Undefined while no terms are known: then the answer is 503. */
export interface Challenges {
  make(route: Route, path: string, code?: ErrorCode): Challenge | undefined;
}

/** Everything of one route's 402 but its token and memo, encoded once. */
interface Template {
  readonly terms: Terms;
  /** The body is the v1 envelope. */
  readonly v1: boolean;
  /** Never made anew: the token mint knows it again by its identity. */
  readonly binding: TokenBinding;
  readonly beforeToken: string;
  readonly afterMemo: string;
  readonly bodyBefore: string;
  readonly bodyAfter: string;
  readonly headers: readonly string[];
}

/** `","memo":"` brought to a multiple of 3 bytes. */
const BETWEEN = '","memo":  "';
/** Of all routes and paths together: both are the caller's, since each quote makes a route of its own, and a path may be 20 KB long. */
const MAX_TEMPLATES = 1_000;

/**
 * The `PAYMENT-REQUIRED` header is base64 of about 2 KB of JSON of which only token and memo change. All else is encoded
 * once per route and path, cut at 3-byte boundaries, so a challenge costs one token and about 200 bytes of base64.
 */
export function createChallenges(options: ChallengeOptions): Challenges {
  const { terms: source, tokens } = options;
  let templates = new WeakMap<Route, Map<string, Template>>();
  let kept = 0;

  function template(route: Route, path: string, terms: Terms): Template {
    const cached = templates.get(route)?.get(path);
    if (cached?.terms === terms) return cached;
    const made = makeTemplate(options, route, path, terms, "payment_required");
    if (cached === undefined) countOneMore();
    const byPath = templates.get(route) ?? new Map<string, Template>();
    templates.set(route, byPath.set(path, made));
    return made;
  }

  function countOneMore(): void {
    if (kept >= MAX_TEMPLATES) {
      templates = new WeakMap();
      kept = 0;
    }
    kept += 1;
  }

  return {
    make(route, path, code = "payment_required") {
      const terms = source.current();
      if (terms === undefined) return undefined;
      const others = route.target.kind === "credit" ? options.assets.current() : [];
      if (others.length > 0) return makeWithOthers(options, route, path, terms, code, others);
      const parts =
        code === "payment_required"
          ? template(route, path, terms)
          : makeTemplate(options, route, path, terms, code);
      const { token, memo } = tokens.issue(parts.binding);
      const middle = Buffer.from(token + BETWEEN + memo, "latin1").toString("base64");
      return {
        headers: [...parts.headers, "PAYMENT-REQUIRED", parts.beforeToken + middle + parts.afterMemo],
        body: parts.bodyBefore + (parts.v1 ? memo : token + BETWEEN + memo) + parts.bodyAfter,
      };
    },
  };
}

function makeTemplate(
  options: ChallengeOptions,
  route: Route,
  path: string,
  terms: Terms,
  code: ErrorCode,
): Template {
  const { tokens } = options;
  const url = urlOf(options, route, path);
  const requirements = requirementsFor(route, terms);
  const accepts = [{ ...requirements, extra: { ...requirements.extra, token: SPLICE_VALUE } }];
  const json = paymentRequired(options, route, url, code, accepts);
  const [start = "", end = ""] = json.split(SPLICE);
  const padding = " ".repeat((3 - ((Buffer.byteLength(start) + 1) % 3)) % 3);
  const before = `${start}${padding}"`;
  const after = `"${end}`;
  // Credit is not sold under v1 (buy-credit.ts).
  const v1 = options.v1 && route.target.kind !== "credit";
  const [bodyBefore, bodyAfter] = v1 ? envelopeV1(route, url, terms, code) : [before, after];
  const dynamic = v1 ? tokens.memoLength : tokens.tokenLength + BETWEEN.length + tokens.memoLength;
  const length = Buffer.byteLength(bodyBefore) + dynamic + Buffer.byteLength(bodyAfter);
  return {
    terms,
    v1,
    binding: bindingFor(route, path, requirements, terms.asset),
    beforeToken: Buffer.from(before).toString("base64"),
    afterMemo: Buffer.from(after).toString("base64"),
    bodyBefore: bytesOf(bodyBefore),
    bodyAfter: bytesOf(bodyAfter),
    headers: headersOf(options, length),
  };
}

/** One entry for each asset, each with a token of its own that is good for nothing else. Not hot: made anew each time. */
function makeWithOthers(
  options: ChallengeOptions,
  route: Route,
  path: string,
  terms: Terms,
  code: ErrorCode,
  others: readonly TopUpToken[],
): Challenge {
  const usdc = requirementsFor(route, terms);
  const offers = [usdc, ...others.flatMap((other) => requirementsIn(other, route, terms) ?? [])];
  const accepts = offers.map((offer) => {
    const issued = options.tokens.issue(bindingFor(route, path, offer, terms.asset));
    return { ...offer, extra: { ...offer.extra, ...issued } };
  });
  const url = urlOf(options, route, path);
  const whole = paymentRequired(options, route, url, code, accepts);
  const surplus = Buffer.byteLength(whole) - MAX_HEADER_BYTES;
  const json = surplus <= 0 ? whole : paymentRequired(options, route, url, code, accepts, surplus);
  const body = bytesOf(json);
  const header = Buffer.from(json).toString("base64");
  return { headers: [...headersOf(options, body.length), "PAYMENT-REQUIRED", header], body };
}

/** In base64 and beside the other headers this fits into 4 KiB, the buffer of a proxy in front that has its usual settings. */
const MAX_HEADER_BYTES = 2_700;

function urlOf({ publicUrl }: ChallengeOptions, route: Route, path: string): string {
  return publicUrl + resourcePath(route, path);
}

function headersOf(options: ChallengeOptions, length: number): readonly string[] {
  return [
    ...options.headers,
    "Content-Type",
    "application/json; charset=utf-8",
    "Cache-Control",
    "private, no-store",
    "Content-Length",
    String(length),
  ];
}

/** UTF-8, one character for each byte. */
function bytesOf(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** Stands where token and memo go. Random, since the path is the caller's: text that somebody chose must not be cut. */
const SPLICE_VALUE = randomUUID();
const SPLICE = `"${SPLICE_VALUE}"`;

function paymentRequired(
  options: ChallengeOptions,
  route: Route,
  url: string,
  code: ErrorCode,
  accepts: readonly PaymentRequirements[],
  lessBytes = 0,
): string {
  const document = {
    x402Version: 2,
    error: code,
    resource: { ...options.resource(route), url },
    accepts,
    extensions: options.extensions(route, lessBytes),
  };
  return JSON.stringify(document);
}

/** Begins the memo of a payment made under v1: one made under v2 must not come back as v1, which has no token to check. */
const V1_MEMO = "v1:";

/** The v1 body around its memo: v1 clients read only the body, and newer ones put `extra.memo` into the transaction. */
function envelopeV1(route: Route, url: string, terms: Terms, code: ErrorCode): readonly [string, string] {
  if (terms.feePayerV1 === undefined) {
    return [`{"x402Version":1,"error":"${code}","accepts":[],"memo":"`, '"}'];
  }
  const requirements = requirementsV1For(route, terms, terms.feePayerV1, url);
  const document = {
    x402Version: 1,
    error: code,
    accepts: [{ ...requirements, extra: { ...requirements.extra, memo: V1_MEMO + SPLICE_VALUE } }],
  };
  const [before = "", after = ""] = JSON.stringify(document).split(SPLICE_VALUE);
  return [before, after];
}
