import { setTimeout as wait } from "node:timers/promises";
import { generateKeyPairSigner } from "@solana/kit";
import { type Crowd, runAgent } from "./agent.ts";
import { closeBooks } from "./books.ts";
import { check } from "./check.ts";
import type { Books, Evidence, KeyedCall, WalletCall } from "./evidence.ts";
import { openDoor } from "./exchange.ts";
import { createTrouble, type InjectedFault } from "./faults.ts";
import type { Findings } from "./findings.ts";
import { type Purse, runKeyedClient } from "./keyed-client.ts";
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

const WALLET_MICRO_USD = 1_000_000_000n;
const RICH_MICRO_USD = 100_000_000_000n;
const POOR_MICRO_USD = 2_000_000n;
/** Clients that share an account with another one, and those whose account runs dry. */
const SHARED_EVERY = 5;
const POOR_EVERY = 7;
/** Faults are over: so long a client may need to hear the end of its call. */
const FINISH_MS = 8_000;
/** And so long after the chain has moved on, when every payment can be decided. */
const LATE_MS = 75_000;
const BEYOND_EXPIRY = 400;
/** A gateway may still be writing what became of a call whose client has left. */
const REST_MS = 5_000;
const SWEEP_MS = 120_000;

interface Clients {
  readonly walletCalls: WalletCall[];
  readonly keyedCalls: KeyedCall[];
  readonly all: Promise<unknown>;
}

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
  const state = { over: false, late: false };
  const door = openDoor(
    world.gateways.map(({ url }) => url),
    world.now,
  );
  const crowd = { door, isOver: () => state.over, isLate: () => state.late };
  const trouble = createTrouble(world, random.fork());
  progress(`seed ${options.seed}: opening wallets and accounts`);
  const clients = await startClients(world, options, random, crowd, operator);
  const began = world.now();
  const counts = () => ({
    paid: delivered(clients.walletCalls),
    keyed: delivered(clients.keyedCalls),
    faults: trouble.log.length,
  });
  const troubled = trouble.run(options.faults, options.gapMs);
  while (!isReached(options, counts()) && world.now() - began < options.seconds * 1_000) {
    const { paid, keyed, faults } = counts();
    progress(
      `${Math.round((world.now() - began) / 1_000)} s: ${paid} paid, ${keyed} keyed, ${faults} faults`,
    );
    await Promise.race([wait(1_000), clients.all, troubled.then(() => wait(1_000))]);
  }
  await trouble.end();
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

/** One that ended by itself, or does not end cleanly when it is asked to, has failed too. */
async function stopGateways({ gateways }: World, findings: Findings): Promise<void> {
  for (const gateway of gateways) {
    const code = gateway.failed ?? (await gateway.stop());
    if (code !== 0) findings.violation("gateway_failed", `exit code ${code}`);
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

async function startClients(
  world: World,
  options: ChaosOptions,
  random: Random,
  crowd: Crowd,
  operator: Operator,
): Promise<Clients> {
  const walletCalls: WalletCall[] = [];
  const keyedCalls: KeyedCall[] = [];
  const wallets = await Promise.all(Array.from({ length: options.agents }, () => generateKeyPairSigner()));
  for (const { address } of wallets) await world.localnet.fund(address, WALLET_MICRO_USD);
  const purses = await openPurses(operator, options.clients);
  const keys = await Promise.all(
    purses.map((purse, index) => operator.createKey(purse.account, `client-${index}`)),
  );
  const agents = wallets.map((wallet, index) =>
    runAgent({
      crowd,
      wallet,
      name: `w${index}`,
      random: random.fork(),
      rpcUrl: world.localnet.rpcUrl,
      onCall: (call) => walletCalls.push(call),
    }),
  );
  const keyed = purses.map((purse, index) =>
    runKeyedClient({
      crowd,
      purse,
      name: `k${index}`,
      random: random.fork(),
      secret: keys[index] ?? "",
      onCall: (call) => keyedCalls.push(call),
    }),
  );
  return { walletCalls, keyedCalls, all: Promise.all([...agents, ...keyed]) };
}

async function openPurses(operator: Operator, count: number): Promise<readonly Purse[]> {
  const purses: Purse[] = [];
  for (let index = 0; index < count; index += 1) {
    const before = purses[index - 1];
    if (index % SHARED_EVERY === SHARED_EVERY - 1 && before !== undefined) {
      purses.push(before);
      continue;
    }
    const account = `acct_chaos_${index}`;
    const isPoor = index % POOR_EVERY === POOR_EVERY - 1;
    await operator.openAccount(account, isPoor ? POOR_MICRO_USD : RICH_MICRO_USD);
    let number = 0;
    purses.push({
      account,
      next: () => {
        number += 1;
        return number;
      },
      topUp: () => operator.credit(account, POOR_MICRO_USD),
    });
  }
  return purses;
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
