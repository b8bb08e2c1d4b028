import type { CancelSignal } from "./cancellation.ts";
import { type Exchange, exchange } from "./http-exchange.ts";
import { Pool } from "./http-pool.ts";
import { readSettle, readSupported, readVerify } from "./replies.ts";
import type { Facilitator, FacilitatorRequest } from "./types.ts";

/** The three calls of a facilitator (x402 v2 §7). */
export type FacilitatorOperation = "verify" | "settle" | "supported";

type AuthHeaders = (operation: FacilitatorOperation) => Promise<Readonly<Record<string, string>>>;

export interface HttpFacilitatorOptions {
  /** Base URL; `/verify`, `/settle` and `/supported` are appended. http or https, no credentials, no query. */
  readonly url: string;
  /** Each limit runs from the call to the last byte of the answer, ms. */
  readonly verifyTimeoutMs: number;
  readonly settleTimeoutMs: number;
  readonly supportedTimeoutMs?: number;
  /** Headers that authorise one call; asked anew for each. If it fails, nothing is sent. */
  readonly authHeaders?: AuthHeaders;
  /** Default: the URL. */
  readonly name?: string;
}

const SUPPORTED_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Calls in flight at once; further ones wait within their time limit. */
const MAX_CONNECTIONS = 512;
/** Answers are a few hundred bytes; `/supported` of a large facilitator some tens of KiB. */
const MAX_REPLY_BYTES = 1024 * 1024;
const BASE_HEADERS = ["accept", "application/json", "user-agent", "farebox"];
const POST_HEADERS = [...BASE_HEADERS, "content-type", "application/json"];

interface Call {
  readonly operation: FacilitatorOperation;
  readonly timeoutMs: number;
  readonly request?: FacilitatorRequest;
  readonly signal?: CancelSignal | undefined;
}

/**
 * A facilitator by URL, over kept-alive connections. No method throws.
 * Redirects are not followed. Throws a TypeError here, at creation, if the URL is not usable.
 */
export function createHttpFacilitator(options: HttpFacilitatorOptions): Facilitator {
  const { origin, path } = parseBase(options.url);
  const pool = new Pool(origin, {
    connections: MAX_CONNECTIONS,
    // A pipelined request is put back and written again when the one before it fails; a settle must not be.
    pipelining: 1,
    connect: { timeout: CONNECT_TIMEOUT_MS },
    // The whole exchange has a limit of its own.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const bodies = new WeakMap<FacilitatorRequest, Buffer>();
  let inFlight = 0;
  let onIdle: (() => void) | undefined;
  let closing: Promise<void> | undefined;

  /** verify and settle of one payment send the same bytes, so they are encoded once. */
  function encode(request: FacilitatorRequest): Buffer {
    const known = bodies.get(request);
    if (known !== undefined) return known;
    const body = Buffer.from(JSON.stringify(request));
    bodies.set(request, body);
    return body;
  }

  /** The headers that authorise a call, asked for within its time limit; undefined if they cannot be had. */
  async function authorise(call: Call, ask: AuthHeaders): Promise<string[] | undefined> {
    try {
      return Object.entries(await within(call.timeoutMs, ask(call.operation))).flat();
    } catch {
      return undefined;
    }
  }

  async function sendOnce(call: Call): Promise<Exchange> {
    const started = performance.now();
    // Most facilitators want no authorisation: then nothing is waited for.
    const auth = options.authHeaders === undefined ? [] : await authorise(call, options.authHeaders);
    if (auth === undefined) return notSent("unprepared");
    let body: Buffer | undefined;
    try {
      body = call.request === undefined ? undefined : encode(call.request);
    } catch {
      return notSent("unprepared");
    }
    return exchange(pool, {
      method: body === undefined ? "GET" : "POST",
      path: `${path}/${call.operation}`,
      headers: [...(body === undefined ? BASE_HEADERS : POST_HEADERS), ...auth],
      body,
      timeoutMs: Math.max(0, call.timeoutMs - (performance.now() - started)),
      maxBytes: MAX_REPLY_BYTES,
      signal: call.signal,
    });
  }

  async function send(call: Call): Promise<Exchange> {
    if (closing !== undefined) return notSent("closed");
    inFlight += 1;
    try {
      return await sendOnce(call);
    } finally {
      inFlight -= 1;
      if (inFlight === 0) onIdle?.();
    }
  }

  /** `destroy` alone would drop calls in flight, `close` alone would wait for connections nobody waits for any more. */
  async function finish(): Promise<void> {
    if (inFlight > 0) {
      await new Promise<void>((resolve) => {
        onIdle = resolve;
      });
    }
    await pool.destroy();
  }

  /** Nothing is spent by asking twice, and a connection that died idle is the usual cause. */
  async function sendTwice(call: Call): Promise<Exchange> {
    const started = performance.now();
    const first = await send(call);
    if (first.kind === "response" || !first.connection) return first;
    const timeoutMs = Math.max(0, call.timeoutMs - (performance.now() - started));
    const second = await send({ ...call, timeoutMs });
    return second.kind === "failed" ? { ...second, sent: first.sent || second.sent } : second;
  }

  return {
    name: options.name ?? `${origin}${path}`,
    verify: async (request, signal) => {
      const timeoutMs = options.verifyTimeoutMs;
      return readVerify(await sendTwice({ operation: "verify", timeoutMs, request, signal }));
    },
    settle: async (request) => {
      const timeoutMs = options.settleTimeoutMs;
      return readSettle(await send({ operation: "settle", timeoutMs, request }));
    },
    supported: async () => {
      const timeoutMs = options.supportedTimeoutMs ?? SUPPORTED_TIMEOUT_MS;
      return readSupported(await send({ operation: "supported", timeoutMs }));
    },
    close: () => {
      closing ??= finish();
      return closing;
    },
  };
}

function parseBase(text: string): { origin: string; path: string } {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new TypeError("The facilitator's URL must be an http or https URL.");
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new TypeError("The facilitator's URL must have no credentials, query or fragment.");
  }
  return { origin: url.origin, path: url.pathname.replace(/\/+$/, "") };
}

function notSent(reason: string): Exchange {
  return { kind: "failed", sent: false, connection: false, reason };
}

/** Rejects if `promise` takes longer than `ms`. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("timeout")), ms);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
