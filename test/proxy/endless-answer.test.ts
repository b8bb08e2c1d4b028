import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, expect, it } from "vitest";
import { PATH, SSE, STOP, STREAM, said } from "./metered-calls.ts";
import { type Stand, startStand } from "./stand.ts";

/** A model that does not stop must not take the memory of all the other calls, nor be free for it. */
const model = createServer();
let stand: Stand;
beforeEach(async () => {
  model.listen(0, "127.0.0.1");
  await once(model, "listening");
  stand = await startStand({ url: `http://127.0.0.1:${(model.address() as AddressInfo).port}` });
});
afterEach(async () => {
  await stand.close();
  await new Promise((resolve) => model.close(resolve));
});

const MIB = 1_048_576;
const PIECES = 160;
/** Each is a token. */
const WORDS = 100_000;
const PIECE = " word".repeat(WORDS);
const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

function inUse(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

it.each([
  ["a chat", PATH, STREAM],
  ["the agent", "/agent", { model: "by/token", prompt: "Tell me of the sea.", stream: true }],
])("of %s the memory is bounded, and all of it is counted", async (_name, path, body) => {
  const asked = once(model, "request");
  const headers = { "Content-Type": "application/json" };
  const answering = fetch(stand.url + path, { method: "POST", headers, body: JSON.stringify(body) });
  const [, res] = (await asked) as [unknown, ServerResponse];
  res.writeHead(200, SSE);
  res.write(event(said(PIECE)));
  const reader = (await answering).body?.getReader();
  let got = 0;
  let before = 0;
  for (let piece = 1; piece <= PIECES; piece += 1) {
    // Nothing is on its way when the memory is looked at.
    while (got < piece * PIECE.length) got += (await reader?.read())?.value?.length ?? Number.NaN;
    if (piece === 1) before = inUse();
    if (piece < PIECES) res.write(event(said(PIECE)));
  }
  expect(inUse() - before).toBeLessThan(20 * MIB);
  res.end(`${event(STOP)}data: [DONE]\n\n`);
  while ((await reader?.read())?.done === false);
  const { estimated, usage } = (await stand.meters.at(-1)?.read()) ?? {};
  expect(estimated).toBe(true);
  expect(Math.abs((usage?.completionTokens ?? 0) - PIECES * WORDS)).toBeLessThan(100);
});
