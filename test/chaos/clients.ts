import { generateKeyPairSigner } from "@solana/kit";
import { type Crowd, runAgent } from "./agent.ts";
import type { KeyedCall, WalletCall } from "./evidence.ts";
import { type Purse, runKeyedClient } from "./keyed-client.ts";
import type { Operator } from "./operator.ts";
import type { ChaosOptions } from "./options.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/** How far the run is; `paid` and `keyed`: enough of them. */
export interface State {
  over: boolean;
  late: boolean;
  paid: boolean;
  keyed: boolean;
}

/** Everybody at work, and their logs. */
export interface Clients {
  readonly walletCalls: WalletCall[];
  readonly keyedCalls: KeyedCall[];
  /** Resolves when the last of them is done. */
  readonly all: Promise<unknown>;
}

const WALLET_MICRO_USD = 1_000_000_000n;
const RICH_MICRO_USD = 100_000_000_000n;
const POOR_MICRO_USD = 2_000_000n;
/** Clients that share an account with another one, and those whose account runs dry. */
const SHARED_EVERY = 5;
const POOR_EVERY = 7;

/** Opens wallets and accounts, and sets everybody to work. */
export async function startClients(
  world: World,
  options: ChaosOptions,
  random: Random,
  crowd: Crowd,
  operator: Operator,
  state: Readonly<State>,
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
      isEnough: () => state.paid,
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
      isEnough: () => state.keyed,
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
