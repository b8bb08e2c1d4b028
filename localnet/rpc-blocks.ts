import { z } from "zod";
import type { Chain } from "./chain.ts";
import type { Faucet } from "./faucet.ts";
import { FaucetRefusal } from "./faucet.ts";
import { INVALID_PARAMS, RpcError, type RpcMethod, rpcMethod } from "./rpc.ts";
import {
  API_VERSION,
  addressParam,
  commitmentOf,
  contextConfig,
  contextSlot,
  inContext,
} from "./rpc-params.ts";

const SLOTS_PER_EPOCH = 432_000n;
/** Mainnet's, whose CAIP-2 id is its beginning: the chain says the same of itself everywhere. */
const GENESIS_HASH = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d";
const MAX_AIRDROP_LAMPORTS = 1_000 * 1_000_000_000;

/** The methods about blocks, time and the node itself. */
export function blockMethods(
  chain: Chain,
  faucet: Faucet,
  slotMs: number,
): readonly (readonly [string, RpcMethod])[] {
  const { clock } = chain;
  const onlyConfig = z.tuple([contextConfig.optional()], z.unknown());
  const noParams = z.unknown();

  return [
    ["getSlot", rpcMethod(onlyConfig, ([config]) => contextSlot(chain, config))],
    [
      "getBlockHeight",
      rpcMethod(onlyConfig, ([config]) => {
        contextSlot(chain, config);
        return clock.height(commitmentOf(config));
      }),
    ],
    [
      "getLatestBlockhash",
      rpcMethod(onlyConfig, ([config]) => inContext(chain, config, clock.latest(commitmentOf(config)))),
    ],
    [
      "isBlockhashValid",
      rpcMethod(z.tuple([z.string(), contextConfig.optional()], z.unknown()), ([hash, config]) =>
        inContext(chain, config, clock.isRecent(hash, clock.height())),
      ),
    ],
    [
      "getEpochInfo",
      rpcMethod(onlyConfig, ([config]) => epochInfo(chain, contextSlot(chain, config), config)),
    ],
    [
      "getBlockTime",
      rpcMethod(z.tuple([z.int().nonnegative()], z.unknown()), ([slot]) => {
        const age = Math.max(0, Number(clock.slot()) - slot);
        return Math.floor((Date.now() - age * slotMs) / 1000);
      }),
    ],
    ["getFirstAvailableBlock", rpcMethod(noParams, () => 0)],
    ["getHealth", rpcMethod(noParams, () => "ok")],
    ["getGenesisHash", rpcMethod(noParams, () => GENESIS_HASH)],
    ["getVersion", rpcMethod(noParams, () => ({ "solana-core": API_VERSION, "feature-set": 0 }))],
    [
      "requestAirdrop",
      rpcMethod(
        z.tuple([addressParam, z.int().positive().max(MAX_AIRDROP_LAMPORTS)], z.unknown()),
        ([to, lamports]) => {
          try {
            return faucet.airdrop(to, BigInt(lamports));
          } catch (error) {
            if (!(error instanceof FaucetRefusal)) throw error;
            throw new RpcError(INVALID_PARAMS, `Airdrop failed: ${error.message}`);
          }
        },
      ),
    ],
  ];
}

function epochInfo(chain: Chain, absoluteSlot: bigint, config: z.infer<typeof contextConfig>) {
  return {
    absoluteSlot,
    blockHeight: chain.clock.height(commitmentOf(config)),
    epoch: absoluteSlot / SLOTS_PER_EPOCH,
    slotIndex: absoluteSlot % SLOTS_PER_EPOCH,
    slotsInEpoch: SLOTS_PER_EPOCH,
    transactionCount: chain.transactionCount(),
  };
}
