import { setTimeout as wait } from "node:timers/promises";
import { closeBooks } from "./books.ts";
import { check } from "./check.ts";
import { type Clients, type State, startClients } from "./clients.ts";
import type { Books, Evidence, WalletCall } from "./evidence.ts";
import { openDoor } from "./exchange.ts";
import { createTrouble, type InjectedFault } from "./faults.ts";
import type { Findings } from "./findings.ts";
import { createOperator, type Operator } from "./operator.ts";
import type { ChaosOptions } from "./options.ts";
import { createRandom, type Random } from "./random.ts";
import { ADMIN_TOKEN, openWorld, type World } from "./world.ts";

/** What a run came to. */
export interface ChaosResult {
  readonly options: ChaosOptions;
  readonly evidence: Evidence;
  readonly books: Books;
  readonly faults: readonly InjectedFault[];
  readonly findings: Findings;
  /** Milliseconds under load, and to its end. */
  readonly loadMs: number;
  readonly totalMs: number;
}

/** Told once a second. */
export type Progress = (line: string) => void;

/** Faults are over: so long a client may need to hear the end of its call. */
const FINISH_MS = 8_000;
/** And so long after the chain has moved on, when every payment can be decided. */
const LATE_MS = 75_000;
const BEYOND_EXPIRY = 400;
/** A gateway may still be writing what became of a call whose client has left. */
const REST_MS = 5_000;
const SWEEP_MS = 120_000;

/** Runs it all and checks it. Everything it started is ended when it resolves, rejects or `signal` is aborted. */
export async function runChaos(
  options: ChaosOptions,
  progress: Progress,
  signal: AbortSignal = new AbortController().signal,
): Promise<ChaosResult> {
  const random = createRandom(options.seed);
  const world = await openWorld(options, random);
  try {
    return await Promise.race([runIn(world, options, random, progress), aborted(signal)]);
  } finally {
    await world.close();
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(new Error("It was stopped."));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
  });
}

async function runIn(
  world: World,
  options: ChaosOptions,
  random: Random,
  progress: Progress,
): Promise<ChaosResult> {
  const adminUrls = world.gateways.map(({ adminUrl }) => adminUrl);
  const operator = createOperator(adminUrls, ADMIN_TOKEN);
  const state: State = { over: false, late: false, paid: false, keyed: false };
  const door = openDoor(
    world.gateways.map(({ url }) => url),
    world.now,
  );
  const crowd = { door, isOver: () => state.over, isLate: () => state.late };
  const trouble = createTrouble(world, random.fork());
  progress(`seed ${options.seed}: opening wallets and accounts`);
  const clients = await startClients(world, options, random, crowd, operator, state);
  const began = world.now();
  const counts = () => ({
    paid: delivered(clients.walletCalls),
    keyed: delivered(clients.keyedCalls),
    faults: trouble.log.length,
  });
  const troubled = trouble.run(options.faults, options.gapMs);
  while (!isReached(options, counts()) && world.now() - began < options.seconds * 1_000) {
    const { paid, keyed, faults } = counts();
    state.paid = paid >= options.paid;
    state.keyed = keyed >= options.keyed;
    progress(
      `${Math.round((world.now() - began) / 1_000)} s: ${paid} paid, ${keyed} keyed, ${faults} faults`,
    );
    await Promise.race([wait(1_000), clients.all, troubled.then(() => wait(1_000))]);
    await restartEnded(world);
  }
  await trouble.end();
  await restartEnded(world);
  state.over = true;
  const loadMs = world.now() - began;
  await finish(world, clients, state, progress);
  door.close();
  const payments = clients.walletCalls.flatMap((call) => call.payments);
  progress("closing the books");
  const books = await closeBooks(world, payments, SWEEP_MS);
  const evidence = gather(world, clients, operator);
  const findings = check(evidence, books);
  await stopGateways(world, findings);
  return { options, evidence, books, faults: trouble.log, findings, loadMs, totalMs: world.now() };
}

/** As whatever supervises it in earnest would: a gateway may end by itself when its ledger is gone. */
async function restartEnded({ gateways, deaths, ends, now }: World): Promise<void> {
  for (const [index, gateway] of gateways.entries()) {
    if (gateway.failed === undefined) continue;
    ends.push(gateway.failed);
    deaths.push({ gateway: index, at: now() });
    await gateway.start(0);
  }
}

/** Only a Redis that was killed excuses a gateway that ends by itself; and each must end cleanly when it is asked to. */
async function stopGateways({ gateways, ends, redis }: World, findings: Findings): Promise<void> {
  for (const code of ends) {
    const allowed = "gateway that ended by itself when Redis was killed";
    findings.add(
      redis === undefined ? { violation: "gateway_ended_by_itself" } : { allowed },
      `code ${code}`,
    );
  }
  for (const gateway of gateways) {
    const code = gateway.failed ?? (await gateway.stop());
    if (code !== 0) findings.violation("gateway_not_stopped_cleanly", `exit code ${code}`);
  }
}

function isReached(options: ChaosOptions, counts: Pick<ChaosOptions, "paid" | "keyed" | "faults">): boolean {
  const { paid, keyed, faults } = counts;
  return paid >= options.paid && keyed >= options.keyed && faults >= options.faults;
}

/** Lets every client hear the end of its call. A payment that is open is decided once the chain is beyond its life. */
async function finish(
  world: World,
  clients: Clients,
  state: { late: boolean },
  progress: Progress,
): Promise<void> {
  progress("no more faults; the clients finish their calls");
  const done = clients.all.then(() => true);
  await Promise.race([done, wait(FINISH_MS)]);
  world.localnet.warp(BEYOND_EXPIRY);
  await Promise.race([done, wait(LATE_MS)]);
  state.late = true;
  await done;
  await wait(REST_MS);
  // A payment that was sent again meanwhile was claimed anew, and lives from there on as far as the ledger knows.
  world.localnet.warp(BEYOND_EXPIRY);
}

function delivered(calls: readonly { readonly attempts: WalletCall["attempts"] }[]): number {
  return calls.reduce((sum, { attempts }) => sum + (attempts.some(({ answer }) => answer) ? 1 : 0), 0);
}

function gather(world: World, clients: Clients, operator: Operator): Evidence {
  const { localnet, upstream, deaths, misled } = world;
  const landed = localnet.transfersTo(localnet.merchant).filter(({ amount }) => amount > 0n);
  return {
    transfers: landed.map(({ messageHash, signature, payer, amount }) => ({
      id: messageHash,
      signature,
      payer,
      amount,
    })),
    runs: upstream.runs,
    walletCalls: clients.walletCalls,
    keyedCalls: clients.keyedCalls,
    credits: operator.credits,
    deaths,
    misled,
  };
}
