import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import {
  answers,
  type Behaviour,
  chunk,
  closing,
  event,
  SSE,
  type UpstreamCall,
  type Usage,
} from "../support/model-upstream-answers.ts";
import type { Run } from "./evidence.ts";
import type { Random } from "./random.ts";

/** A model that keeps its own log of what it was asked and how far it came. */
export interface LoggingUpstream {
  readonly url: string;
  readonly runs: readonly Run[];
  /** Requests that are being answered now. */
  readonly open: number;
  /** The next `times` requests meet this instead of an answer. */
  fail(fault: UpstreamFault, times: number): void;
  clear(): void;
  close(): Promise<void>;
}

/** What a model server can do wrong; the first four before an answer, the others during one. */
export const UPSTREAM_FAULTS = {
  reset: answers.reset,
  status_500: answers.failure(),
  hang: answers.hang,
  error_in_200: answers.errorIn200,
  half_answer: (call: UpstreamCall, res: ServerResponse) =>
    call.json["stream"] === true
      ? answers.breakAfter("I ", "was ", "about ")(call, res)
      : answers.halfJson(call, res),
  stalled_stream: (call: UpstreamCall, res: ServerResponse) => {
    if (call.json["stream"] !== true) return answers.hang();
    res.writeHead(200, SSE);
    res.write(event(chunk(call, { content: "I " })));
  },
} satisfies Record<string, Behaviour>;
export type UpstreamFault = keyof typeof UPSTREAM_FAULTS;

/** In a stream that takes its time. */
const WORD_MS = 4;
const LARGE_WORDS = 1_500;
/** What each call is said to have asked. */
export const UPSTREAM_PROMPT_TOKENS = 7;

interface LoggedRun {
  readonly run: number;
  readonly call: string;
  end: Run["end"];
}

export async function startUpstream(random: Random): Promise<LoggingUpstream> {
  const runs: LoggedRun[] = [];
  const queue: UpstreamFault[] = [];
  let open = 0;

  async function answer(call: UpstreamCall, asked: string, entry: LoggedRun, res: ServerResponse) {
    const count = Number(/tokens:(\d+)/.exec(asked)?.[1] ?? 2);
    const usage = {
      prompt_tokens: UPSTREAM_PROMPT_TOKENS,
      completion_tokens: count,
      total_tokens: UPSTREAM_PROMPT_TOKENS + count,
    };
    const filler = asked.includes("size:large") ? "word ".repeat(LARGE_WORDS) : "some words of an answer ";
    const text = `call:${entry.call} run:${entry.run} ${filler}end-of-answer`;
    const dawdles = random.chance(0.3);
    if (dawdles) await wait(random.between(1, 30));
    if (call.json["stream"] === true && dawdles) await slowly(call, res, text, usage);
    else await answers.chat(text, usage)(call, res);
  }

  const server = createServer(async (req, res) => {
    open += 1;
    const parts: Buffer[] = [];
    for await (const part of req) parts.push(part);
    const call = readCall(Buffer.concat(parts));
    const asked = JSON.stringify(call.json["messages"] ?? "");
    const entry: LoggedRun = {
      run: runs.length,
      call: /call:([\w-]+)/.exec(asked)?.[1] ?? "",
      end: "open",
    };
    runs.push(entry);
    const fault = queue.shift();
    res.once("close", () => {
      open -= 1;
      entry.end = fault === undefined ? (res.writableFinished ? "whole" : "cut") : "fault";
    });
    if (fault === undefined) await answer(call, asked, entry, res);
    else await UPSTREAM_FAULTS[fault](call, res);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    runs,
    get open() {
      return open;
    },
    fail: (fault, times) => void queue.push(...Array<UpstreamFault>(times).fill(fault)),
    clear: () => void queue.splice(0),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function slowly(call: UpstreamCall, res: ServerResponse, text: string, usage: Usage): Promise<void> {
  res.writeHead(200, SSE);
  res.write(event(chunk(call, { role: "assistant", content: "" })));
  for (const content of text.match(/\S+\s*/g) ?? []) {
    if (res.destroyed) return;
    res.write(event(chunk(call, { content })));
    await wait(WORD_MS);
  }
  res.end(closing(call, usage));
}

/** The parts of a call that the ready-made behaviours look at. */
function readCall(body: Buffer): UpstreamCall {
  return {
    method: "POST",
    path: "/v1/chat/completions",
    headers: {},
    rawHeaders: [],
    body,
    json: JSON.parse(body.toString("utf8")) as UpstreamCall["json"],
    connection: undefined,
    aborted: new Promise(() => undefined),
    billed: { promptTokens: 0, completionTokens: 0 },
  };
}
