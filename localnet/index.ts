import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Address, address } from "@solana/kit";
import { type Chain, openChain } from "./chain.ts";
import { createFacilitatorHandler, NETWORK } from "./facilitator.ts";
import { createFaucet, type Faucet, type NewMint } from "./faucet.ts";
import { createFaucetEndpoint } from "./faucet-endpoint.ts";
import { type HttpServer, listenHttp } from "./http-server.ts";
import { openWallet, type Wallet } from "./keys.ts";
import { createRpcHandler } from "./rpc.ts";
import { accountMethods } from "./rpc-accounts.ts";
import { blockMethods } from "./rpc-blocks.ts";
import { transactionMethods } from "./rpc-transactions.ts";
import {
  associatedTokenAccount,
  type MintOf,
  PLAY,
  PLAY_MINT,
  readMint,
  readTokenAccount,
  TOKEN_2022_PROGRAM,
  TOKEN_PROGRAM,
  USDC,
  USDC_MINT,
} from "./token.ts";
import { type LandedTransfer, transfersTo } from "./transfers.ts";

export type { LandedTransfer } from "./transfers.ts";

export interface LocalnetOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 = any free one. */
  readonly rpcPort: number;
  readonly facilitatorPort: number;
  /** Keys and the log of transactions live here; undefined = memory only. One process at a time. */
  readonly dataDir?: string;
  /** Milliseconds a slot; default 400; 0 = slots advance only by `warp`. */
  readonly slotMs?: number;
}

/**
 * A Solana of one's own: chain, JSON-RPC, facilitator and faucet in this process. Addresses are base58; amounts are
 * atomic units of the mint, which is USDC unless another is named. Methods that take an address throw (or reject) with an Error if
 * it is none.
 */
export interface Localnet {
  readonly rpcUrl: string;
  readonly facilitatorUrl: string;
  /** Mainnet's CAIP-2 id. */
  readonly network: string;
  /** USDC's mint. */
  readonly asset: string;
  /** The play token's mint, of Token-2022. */
  readonly play: string;
  readonly feePayer: string;
  /** Merchant wallet of local mode: made once in `dataDir`; its accounts of both tokens exist. */
  readonly merchant: string;
  /** The faucet without HTTP and without its cap: creates the token account and mints. */
  fund(owner: string, amount: bigint, mint?: string): Promise<void>;
  /** Returns the address of the owner's token account, creating it if there is none. */
  createTokenAccount(owner: string, mint?: string): Promise<string>;
  /** Makes a mint of which {@link Localnet.fund} gives; its address. */
  createMint(options: LocalMint): Promise<string>;
  /** 0n if there is no token account. */
  tokenBalance(owner: string, mint?: string): bigint;
  /** Advances slot and block height by `slots` at once, with new blockhashes. */
  warp(slots: number): void;
  /** The newest block height. */
  height(): bigint;
  /** Every landed transaction with a transfer to the owner, oldest first; failed ones with amount 0n. */
  transfersTo(owner: string, mint?: string): readonly LandedTransfer[];
  close(): Promise<void>;
}

/** A mint of Token, or of Token-2022, then with extensions or without. */
export interface LocalMint extends Pick<NewMint, "decimals"> {
  readonly program: "token" | "token-2022";
  readonly extensions?: NewMint["extensions"];
}

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_SLOT_MS = 400;

interface Wallets {
  readonly faucet: Wallet;
  readonly feePayer: Wallet;
  readonly merchant: Wallet;
}

/**
 * Starts it all, or rejects and leaves nothing open: with an Error that names port and environment variable if a port is
 * taken, or one that names the file if the log or a keypair is damaged.
 */
export async function startLocalnet(options: LocalnetOptions): Promise<Localnet> {
  const { host = DEFAULT_HOST, slotMs = DEFAULT_SLOT_MS } = options;
  const closers: (() => void | Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    // The ports first: a second process must not touch the log of the first.
    const rpc = await listenHttp({ host, port: options.rpcPort, portVariable: "LOCALNET_RPC_PORT" });
    closers.push(rpc.close);
    const front = await listenHttp({
      host,
      port: options.facilitatorPort,
      portVariable: "LOCALNET_FACILITATOR_PORT",
    });
    closers.push(front.close);
    const wallets = openWallets(options.dataDir);
    const chain = openChain({
      faucet: wallets.faucet.address,
      feePayer: wallets.feePayer.address,
      journalPath: options.dataDir === undefined ? undefined : join(options.dataDir, "chain.jsonl"),
      slotMs,
    });
    closers.unshift(chain.close);
    const faucet = createFaucet(chain, wallets.faucet);
    for (const mint of [USDC, PLAY]) createTokenAccount(chain, faucet, wallets.merchant.address, mint);
    await serve({ rpc, front, chain, faucet, wallets, slotMs });
    return present({ rpc, front, chain, faucet, wallets, close });
  } catch (error) {
    await close();
    throw error;
  }
}

interface Parts {
  readonly rpc: HttpServer;
  readonly front: HttpServer;
  readonly chain: Chain;
  readonly faucet: Faucet;
  readonly wallets: Wallets;
}

function openWallets(dataDir: string | undefined): Wallets {
  if (dataDir !== undefined) mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const open = (name: string): Wallet =>
    openWallet(dataDir === undefined ? undefined : join(dataDir, `${name}.json`));
  return { faucet: open("faucet"), feePayer: open("fee-payer"), merchant: open("merchant") };
}

async function serve(parts: Parts & { readonly slotMs: number }): Promise<void> {
  const { rpc, front, chain, faucet, wallets, slotMs } = parts;
  const methods = new Map([
    ...blockMethods(chain, faucet, slotMs),
    ...accountMethods(chain),
    ...transactionMethods(chain),
  ]);
  rpc.serve(createRpcHandler(methods));
  front.serve(
    await createFacilitatorHandler({
      feePayer: wallets.feePayer,
      rpcUrl: rpc.url,
      faucet: createFaucetEndpoint(faucet, (owner, mint) => tokenBalance(chain, owner, mint)),
    }),
  );
}

function present(parts: Parts & { readonly close: () => Promise<void> }): Localnet {
  const { rpc, front, chain, faucet, wallets, close } = parts;
  return {
    rpcUrl: rpc.url,
    facilitatorUrl: front.url,
    network: NETWORK,
    asset: USDC_MINT,
    play: PLAY_MINT,
    feePayer: wallets.feePayer.address,
    merchant: wallets.merchant.address,
    fund: async (owner, amount, mint) => {
      faucet.fund(address(owner), amount, mintOf(chain, mint));
    },
    createTokenAccount: async (owner, mint) =>
      createTokenAccount(chain, faucet, address(owner), mintOf(chain, mint)),
    createMint: async ({ program, decimals, extensions = [] }) => {
      const programAddress = program === "token" ? TOKEN_PROGRAM : TOKEN_2022_PROGRAM;
      return faucet.createMint({ program: programAddress, decimals, extensions });
    },
    tokenBalance: (owner, mint) => tokenBalance(chain, address(owner), mintOf(chain, mint)),
    warp: chain.warp,
    height: () => chain.clock.height(),
    transfersTo: (owner, mint) => transfersTo(chain, address(owner), mintOf(chain, mint)),
    close,
  };
}

function mintOf(chain: Chain, text: string | undefined): MintOf {
  if (text === undefined) return USDC;
  const mint = address(text);
  const account = chain.account(mint);
  if (account === undefined || readMint(account) === undefined) throw new Error(`${mint} is no mint here.`);
  return { mint, program: account.programAddress };
}

function createTokenAccount(chain: Chain, faucet: Faucet, owner: Address, mint: MintOf): Address {
  const account = associatedTokenAccount(owner, mint);
  const found = chain.account(account);
  if (found === undefined || readTokenAccount(found) === undefined) faucet.createTokenAccount(owner, mint);
  return account;
}

function tokenBalance(chain: Chain, owner: Address, mint: MintOf): bigint {
  const account = chain.account(associatedTokenAccount(owner, mint));
  return (account && readTokenAccount(account)?.amount) ?? 0n;
}
