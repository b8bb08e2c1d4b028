import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import type { Ground } from "./ground.ts";
import type { Lane } from "./lane.ts";

const STREAMS = 20;

/** From the moment the upstream wrote its first event until the caller had it, ms. */
export interface FirstByte {
  readonly p50Ms: number;
  readonly maxMs: number;
}

/** The first event of a stream of one second; the facilitator takes 10 ms to settle. */
export function measureFirstByte(ground: Ground, lane: Lane): Promise<FirstByte> {
  const measure = async ({ url }: { url: string }) => {
    const payments = await ground.sign(`${url}/stream`, STREAMS);
    return summarise(await oneByOne(payments, (payment) => delayOf(`${url}/stream`, payment)));
  };
  return ground.run(lane, measure, { slowSettle: true });
}

/** The same without anything in between. */
export async function measureDirectFirstByte(ground: Ground): Promise<FirstByte> {
  const nothing = Array.from({ length: STREAMS }, () => undefined);
  return summarise(await oneByOne(nothing, () => delayOf(`${ground.upstreamUrl}/stream`, undefined)));
}

async function oneByOne<T>(items: readonly T[], measure: (item: T) => Promise<number>): Promise<number[]> {
  const delays: number[] = [];
  for (const item of items) delays.push(await measure(item));
  return delays;
}

async function delayOf(url: string, payment: string | undefined): Promise<number> {
  const headers = payment === undefined ? {} : { "payment-signature": payment };
  const request = get(url, { headers, agent: false });
  const [response]: IncomingMessage[] = await once(request, "response");
  const [chunk] = response === undefined ? [] : await once(response, "data");
  const arrived = performance.timeOrigin + performance.now();
  request.destroy();
  const written = /"at":([\d.]+)/.exec(String(chunk))?.[1];
  if (response?.statusCode !== 200 || written === undefined) throw new Error(`${url} did not stream`);
  return arrived - Number(written);
}

function summarise(delays: readonly number[]): FirstByte {
  const sorted = delays.toSorted((one, other) => one - other);
  return { p50Ms: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN, maxMs: sorted.at(-1) ?? Number.NaN };
}
