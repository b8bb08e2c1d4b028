import { once } from "node:events";
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { CALL_PATH, type KeyedServer } from "./lane.ts";
import { STREAM_BODY } from "./load.ts";

const AT_ONCE = 100;
/** Their beginnings are spread over the second that a stream takes. */
const START_EVERY_MS = 10;
/** Streams of each connection; the first is not counted. */
const ROUNDS = 6;

const MANY = 1_000;
/** So many connections are opened in one go. */
const OPENED_TOGETHER = 50;
const SAMPLE_EVERY_MS = 50;
const LOADED_AFTER_MS = 1_000;
const MIB = 1024 * 1024;

/** From sending the call until the first bytes of the stream, ms. */
export interface StreamStart {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** 100 connections, on each one stream after the other. */
export async function measureStreamStart(server: KeyedServer): Promise<StreamStart> {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const delays: number[] = [];
  const work = async (_: unknown, index: number) => {
    await wait(index * START_EVERY_MS);
    for (let round = 0; round < ROUNDS; round += 1) {
      const sent = performance.now();
      const { answer, firstAt } = await begin(server, agent);
      if (round > 0) delays.push(firstAt - sent);
      await ended(answer);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  agent.destroy();
  delays.sort((one, other) => one - other);
  const at = (share: number) => delays[Math.floor(delays.length * share)] ?? Number.NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

/**
 * By how much the server's resident memory grew at most while 1,000 streams ran at once, MiB. What a server loads once, when the first
 * caller leaves early (ours: a tokenizer, some 55 MiB), is loaded before.
 */
export async function measureStreamsGrowth(server: KeyedServer): Promise<number> {
  await leaveEarly(server);
  const before = server.rssBytes();
  const agent = new Agent({ keepAlive: true, maxSockets: MANY });
  const answers: IncomingMessage[] = [];
  let over = 0;
  for (let opened = 0; opened < MANY; opened += OPENED_TOGETHER) {
    const together = Array.from({ length: OPENED_TOGETHER }, () => begin(server, agent));
    answers.push(...(await Promise.all(together)).map(({ answer }) => answer));
  }
  const done = Promise.all(
    answers.map(async (answer) => {
      await ended(answer);
      over += 1;
    }),
  );
  if (answers.some((answer) => answer.complete)) throw new Error("the streams did not all run at once");
  let peak = 0;
  while (over < MANY) {
    peak = Math.max(peak, server.rssBytes());
    await Promise.race([done, wait(SAMPLE_EVERY_MS)]);
  }
  agent.destroy();
  return (peak - before) / MIB;
}

/** A stream whose reader leaves after its first bytes. */
async function leaveEarly(server: KeyedServer): Promise<void> {
  const agent = new Agent();
  const { answer } = await begin(server, agent);
  answer.destroy();
  agent.destroy();
  await wait(LOADED_AFTER_MS);
}

async function begin(server: KeyedServer, agent: Agent) {
  const answer = await respond(
    request(server.url + CALL_PATH, {
      agent,
      method: "POST",
      headers: {
        "content-type": "application/json",
        "content-length": STREAM_BODY.length,
        ...server.headers,
      },
    }),
  );
  await once(answer, "readable");
  return { answer, firstAt: performance.now() };
}

async function respond(call: ClientRequest): Promise<IncomingMessage> {
  call.end(STREAM_BODY);
  const [answer]: IncomingMessage[] = await once(call, "response");
  if (answer?.statusCode !== 200) throw new Error(`a stream was answered with ${answer?.statusCode}`);
  return answer;
}

const END = "data: [DONE]\n\n";

/** Reads to the end; a stream without its last event was cut off. */
async function ended(answer: IncomingMessage): Promise<void> {
  let tail = "";
  for await (const chunk of answer) tail = (tail + chunk).slice(-END.length);
  if (tail !== END) throw new Error("a stream was cut off");
}
