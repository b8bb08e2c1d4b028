import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import type { Child } from "./child.ts";
import type { Ground } from "./ground.ts";
import type { Lane } from "./lane.ts";
import { loadPaid } from "./load.ts";

/** Paid calls before, so that what is loaded once is not counted; several for each of the loader's connections. */
const WARM_UP = 1_000;
const SAMPLE_EVERY_MS = 20;
const MIB = 1024 * 1024;
const BODY_MIB = 200;

/** By how much the server's resident memory grew at most while a body of 200 MiB passed through it, MiB. */
export function measurePipedBody(ground: Ground, lane: Lane): Promise<number> {
  return ground.run(lane, async (server) => {
    await loadPaid(`${server.url}/report`, await ground.sign(`${server.url}/report`, WARM_UP));
    const [payment = ""] = await ground.sign(`${server.url}/body`, 1);
    const before = server.rssBytes();
    return ((await peakDuring(server, () => download(`${server.url}/body`, payment))) - before) / MIB;
  });
}

async function peakDuring(server: Child, work: () => Promise<void>): Promise<number> {
  let peak = 0;
  const sample = () => {
    peak = Math.max(peak, server.rssBytes());
  };
  const timer = setInterval(sample, SAMPLE_EVERY_MS);
  await work();
  clearInterval(timer);
  sample();
  return peak;
}

async function download(url: string, payment: string): Promise<void> {
  const request = get(url, { headers: { "payment-signature": payment }, agent: false });
  const [response]: IncomingMessage[] = await once(request, "response");
  if (response?.statusCode !== 200) throw new Error(`the body was answered with ${response?.statusCode}`);
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await once(response, "end");
  if (bytes !== BODY_MIB * MIB) throw new Error(`only ${bytes} bytes of the body arrived`);
}
