import { GatewayError } from "../errors.ts";
import type { MicroUsd } from "../money.ts";
import { relay, relayCharged } from "./answer.ts";
import { mediaType } from "./chat-stream.ts";
import { forwardedRequestHeaders, forwardedResponseHeaders } from "./headers.ts";
import { quoteFlat } from "./pricing.ts";
import type { Prepared, ProxyCall } from "./proxy-call.ts";
import type { HttpUpstream } from "./upstream.ts";
import { isBodiless, type UpstreamAnswer } from "./upstream-request.ts";

/** They say that the operator's own credentials or account were refused, which is no business of the caller's. */
const OPERATORS_FAULT: ReadonlySet<number> = new Set([401, 402, 407]);
const BODILESS: ReadonlySet<string> = new Set(["GET", "HEAD"]);

/**
 * Forwards a request as it is: path, query and body unchanged, headers without those of headers.ts. Statuses below 500 come
 * back as they are, redirects included, except those that concern the operator's account; the rest is `upstream_failed`.
 */
export function prepareForward(
  upstream: HttpUpstream,
  method: string,
  url: string,
  price: MicroUsd,
  streamingTypes: readonly string[],
): GatewayError | Prepared {
  const path = forwardedPath(url);
  if (path === undefined) {
    return new GatewayError("invalid_request", { message: "The path is not one that can be forwarded." });
  }
  return {
    model: undefined,
    provider: upstream.name,
    quote: quoteFlat(price),
    async execute(call) {
      const answer = await forward(upstream, method, path, call);
      call.meter.answered(answer.status);
      try {
        refuseFailure(answer, call);
        if (!call.signal.aborted) await passOn(call, answer, upstream, streamingTypes);
      } finally {
        answer.discard();
      }
    },
  };
}

function forward(
  upstream: HttpUpstream,
  method: string,
  path: string,
  call: ProxyCall,
): Promise<UpstreamAnswer> {
  const { req, body, signal, meter, upstreamKey } = call;
  return upstream.send({
    method,
    path,
    headers: forwardedRequestHeaders(req.rawHeaders, upstreamKey ?? upstream.apiKey),
    body: BODILESS.has(method) || body.length === 0 ? null : body,
    signal,
    onSending: () => signal.aborted || meter.begun(),
  });
}

function refuseFailure({ status }: UpstreamAnswer, { upstreamKey }: ProxyCall): void {
  if (status < 500 && !OPERATORS_FAULT.has(status)) return;
  const isOwnKey = upstreamKey !== undefined && status < 500;
  throw new GatewayError(isOwnKey ? "provider_key_unusable" : "upstream_failed");
}

async function passOn(
  call: ProxyCall,
  answer: UpstreamAnswer,
  upstream: HttpUpstream,
  streamingTypes: readonly string[],
): Promise<void> {
  const { res } = call;
  for (const [name, value] of forwardedResponseHeaders(answer.headers, upstream.base)) {
    // Some clients wait for a body of that length.
    if (name === "content-length" && isBodiless(answer.status)) continue;
    res.setHeader(name, value);
  }
  res.writeHead(answer.status);
  if (streamingTypes.includes(mediaType(answer))) await relay(call, answer.body);
  else await relayCharged(call, answer.body);
}

/**
 * Path and query of a request target, byte for byte; an absolute-form target loses its origin, and a fragment is cut.
 * Undefined for a path with `.` or `..` in any spelling that a server might resolve: the route that was paid for would not be
 * the one that is served.
 */
export function forwardedPath(url: string): string | undefined {
  const target = url.startsWith("/") ? url : url.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, "");
  const [whole = ""] = target.split("#", 1);
  const rooted = whole.startsWith("/") ? whole : `/${whole}`;
  // Nothing else can be written into a request line.
  if (!/^[\x21-\x7e\x80-\xff]*$/.test(rooted)) return undefined;
  const [path = ""] = rooted.split("?", 1);
  return path.includes("\\") || path.split(/\/|%2f|%5c/i).some(isDotSegment) ? undefined : rooted;
}

/** Also `%2e%2e`, and `..;x`, which servlet containers take for `..`. */
function isDotSegment(segment: string): boolean {
  const [name = ""] = segment.replace(/%2e/gi, ".").replace(/%3b/gi, ";").split(";", 1);
  return name === "." || name === "..";
}
