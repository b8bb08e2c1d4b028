import { createHash } from "node:crypto";
import { Agent, type IncomingMessage, request } from "node:http";
import { decodePaymentResponseHeader } from "@x402/fetch";
import type { Answer, Attempt, Phase } from "./evidence.ts";

/** The gateways as their clients reach them. */
export interface Door {
  readonly urls: readonly string[];
  /** Milliseconds since the run began. */
  now(): number;
  close(): void;
  readonly agent: Agent;
  /** Waits until not too many payments are under way; returns what ends the turn. */
  takeTurn(): Promise<() => void>;
}

export interface Sending {
  readonly gateway: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly streams: boolean;
  readonly payment?: string | undefined;
  /** The client leaves in this phase; of the first two `afterMs` after it began to send. */
  readonly leaves?: { readonly phase: Phase; readonly afterMs: number } | undefined;
}

/** What came back, for the client's eyes; the attempt is for the log. */
export interface Exchange {
  readonly attempt: Attempt;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Longer than anything a gateway may take: a client that waits for ever would hide a call without an end. */
const LIMIT_MS = 30_000;

/** However many agents there are, one facilitator and one chain serve them: more at once would only time out. */
const PAYMENTS_AT_ONCE = 16;

export function openDoor(urls: readonly string[], now: () => number): Door {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const waiting: (() => void)[] = [];
  let free = PAYMENTS_AT_ONCE;
  const giveBack = (): void => {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  };
  return {
    urls,
    now,
    agent,
    close: () => agent.destroy(),
    takeTurn: async () => {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      return giveBack;
    },
  };
}

interface Raw {
  end: Attempt["end"];
  phase: Phase | undefined;
  status: number | undefined;
  headers: IncomingMessage["headers"];
  readonly chunks: Buffer[];
}

/** Sends one POST, reads what comes or leaves as told, and says what happened. Never rejects. */
export async function exchange(door: Door, sending: Sending): Promise<Exchange> {
  const giveBack = sending.payment === undefined ? undefined : await door.takeTurn();
  const sentAt = door.now();
  const raw = await run(door, sending);
  giveBack?.();
  const body = Buffer.concat(raw.chunks).toString("utf8");
  const answered = raw.end === "answered";
  const good = answered && raw.status === 200 ? readAnswer(body, sending.streams) : undefined;
  const attempt: Attempt = {
    gateway: sending.gateway,
    payment: sending.payment,
    sentAt,
    endedAt: door.now(),
    end: raw.end,
    phase: raw.phase,
    status: raw.status,
    code: answered && (raw.status ?? 0) >= 400 ? codeOf(body) : undefined,
    answer: good,
    transaction: transactionOf(raw.headers["payment-response"]),
    oddity: answered && raw.status === 200 && good === undefined ? body.slice(0, 200) : undefined,
  };
  return { attempt, headers: raw.headers, body };
}

function run(door: Door, sending: Sending): Promise<Raw> {
  const raw: Raw = { end: "dropped", phase: undefined, status: undefined, headers: {}, chunks: [] };
  return new Promise((resolve) => {
    const { path, headers, body, leaves } = sending;
    const req = request(`${door.urls[sending.gateway]}${path}`, {
      agent: door.agent,
      method: "POST",
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers },
    });
    const limit = setTimeout(() => req.destroy(new Error("no answer in time")), LIMIT_MS);
    const over = (): void => {
      clearTimeout(limit);
      resolve(raw);
    };
    const leave = (phase: Phase): void => {
      if (raw.end === "answered") return;
      raw.end = "left";
      raw.phase = phase;
      req.destroy();
    };
    req.on("error", (error) => {
      if ("code" in error && error.code === "ECONNREFUSED") raw.end = "unsent";
    });
    req.on("close", over);
    req.on("response", (res) => {
      raw.status = res.statusCode;
      raw.headers = res.headers;
      if (leaves?.phase === "head") leave("head");
      res.on("data", (chunk: Buffer) => {
        raw.chunks.push(chunk);
        if (leaves?.phase === "body") leave("body");
      });
      res.on("error", () => undefined);
      res.on("end", () => {
        if (raw.end !== "left") raw.end = "answered";
      });
    });
    if (leaves?.phase === "sending") req.write(body.slice(0, body.length / 2));
    else req.end(body);
    if (leaves?.phase === "sending" || leaves?.phase === "waiting") {
      setTimeout(() => leave(leaves.phase), leaves.afterMs);
    }
  });
}

/** Undefined: it is not a whole answer of our upstream. */
function readAnswer(body: string, streams: boolean): Answer | undefined {
  if (streams ? !body.trimEnd().endsWith("data: [DONE]") : parse(body) === undefined) return undefined;
  const call = /call:([\w-]+)/.exec(body)?.[1];
  const run = /run:(\d+)/.exec(body)?.[1];
  // The last word of every text: an answer cut in its middle lacks it.
  if (call === undefined || run === undefined || !body.includes("end-of-answer")) return undefined;
  return { call, run: Number(run), digest: createHash("sha256").update(body).digest("hex") };
}

/** A 402 has the protocol's body, whose `error` is our code. */
function codeOf(body: string): string | undefined {
  const parsed = parse(body) as { error?: string | { code?: unknown; reason?: unknown } } | undefined;
  const error = parsed?.error;
  if (typeof error === "string") return error;
  return typeof error?.code === "string" ? error.code : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function transactionOf(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === "string" ? decodePaymentResponseHeader(header).transaction : undefined;
}
