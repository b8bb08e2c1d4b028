import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Child } from "./child.ts";
import { type Ground, PRICED_PATH } from "./ground.ts";
import { type Lane, pathOf } from "./lane.ts";
import { loadPaid, loadUnpaid } from "./load.ts";
import { type Amounts, warmUpPayments } from "./throughput.ts";

/** Delay of the event loop, ms; the 1 ms of the measuring timer is in it. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const ANSWER_LIMIT_MS = 5_000;

/** The event loop's delay while the server is loaded as in the throughput measurements. */
export async function measureLoopDelay(ground: Ground, lane: Lane, amounts: Amounts) {
  const file = join(ground.directory, `loop-delay-${lane.name}.json`);
  const options = { preload: pathOf("loop-delay.mjs"), env: { LOOP_DELAY_FILE: file } };
  let sequence = 0;
  const during = async (server: Child, work: () => Promise<unknown>): Promise<LoopDelay> => {
    await readDelay(server, file, ++sequence);
    await work();
    return readDelay(server, file, ++sequence);
  };
  const measure = async (server: Child) => {
    const url = server.url + PRICED_PATH;
    await loadUnpaid(url, amounts.warmUpSeconds);
    const unpaid = await during(server, () => loadUnpaid(url, amounts.seconds));
    const warmUp = warmUpPayments(amounts);
    const payments = await ground.sign(url, warmUp + amounts.payments);
    await loadPaid(url, payments.slice(0, warmUp));
    const paid = await during(server, () => loadPaid(url, payments.slice(warmUp)));
    return { unpaid, paid };
  };
  return ground.run(lane, measure, options);
}

/** Asks the preloaded part (loop-delay.mjs) for what it saw since the last time. */
export async function readDelay(server: Child, file: string, sequence: number): Promise<LoopDelay> {
  server.signal("SIGUSR2");
  const deadline = performance.now() + ANSWER_LIMIT_MS;
  while (performance.now() < deadline) {
    const seen = parse(file);
    if (seen?.sequence === sequence) return { p50: seen.p50, p99: seen.p99, max: seen.max };
    await wait(10);
  }
  throw new Error("the server does not tell its event loop's delay");
}

function parse(file: string): (LoopDelay & { readonly sequence: number }) | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}
