import type { Child } from "./child.ts";
import { type Ground, PRICED_PATH } from "./ground.ts";
import type { Lane } from "./lane.ts";
import { type Load, loadPaid, loadUnpaid } from "./load.ts";

export type Loads = Readonly<Record<string, Load>>;

export interface Amounts {
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Payments counted for each lane and round; {@link warmUpPayments} more are sent before. */
  readonly payments: number;
}

/** A paid call runs so much code that a server is compiled after about 2,000 of them: until then it is a third slower. */
export function warmUpPayments({ payments }: Amounts): number {
  return Math.ceil(payments / 2);
}

/** Unpaid 402s, each lane twice, the second time in reverse order so that a drift of the machine averages out. */
export function measureUnpaid(ground: Ground, lanes: readonly Lane[], amounts: Amounts): Promise<Loads> {
  return twice(ground, lanes, async ({ url }) => {
    await loadUnpaid(url + PRICED_PATH, amounts.warmUpSeconds);
    return loadUnpaid(url + PRICED_PATH, amounts.seconds);
  });
}

/** Paid calls, in the same order. The payments are signed before the clock starts. */
export function measurePaid(ground: Ground, lanes: readonly Lane[], amounts: Amounts): Promise<Loads> {
  const warmUp = warmUpPayments(amounts);
  return twice(ground, lanes, async ({ url }) => {
    const payments = await ground.sign(url + PRICED_PATH, warmUp + amounts.payments);
    await loadPaid(url + PRICED_PATH, payments.slice(0, warmUp));
    return loadPaid(url + PRICED_PATH, payments.slice(warmUp));
  });
}

async function twice(ground: Ground, lanes: readonly Lane[], measure: (server: Child) => Promise<Load>) {
  const rounds = new Map<string, Load[]>();
  for (const lane of [...lanes, ...lanes.toReversed()]) {
    const load = await ground.run(lane, measure);
    process.stderr.write(`  ${lane.label}: ${Math.round(load.perSecond)}/s\n`);
    rounds.set(lane.name, [...(rounds.get(lane.name) ?? []), load]);
  }
  return Object.fromEntries([...rounds].map(([name, loads]) => [name, meanOf(loads)]));
}

function meanOf(loads: readonly Load[]): Load {
  const mean = (value: (load: Load) => number) =>
    loads.reduce((sum, load) => sum + value(load), 0) / loads.length;
  return { perSecond: mean((load) => load.perSecond), p99Ms: mean((load) => load.p99Ms) };
}
