import { createHash } from "node:crypto";
import {
  type Address,
  address,
  type EncodedAccount,
  getAddressCodec,
  isOffCurveAddress,
  lamports,
  type ReadonlyUint8Array,
} from "@solana/kit";

/** USDC's mint on mainnet. */
export const USDC_MINT = address("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v");
export const USDC_DECIMALS = 6;
/** Local mode's second token, of Token-2022; no other network has it. */
export const PLAY_MINT = address("PLAY111111111111111111111111111111111111111");
export const PLAY_DECIMALS = 9;
export const SYSTEM_PROGRAM = address("11111111111111111111111111111111");
export const TOKEN_PROGRAM = address("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
export const TOKEN_2022_PROGRAM = address("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
export const ASSOCIATED_TOKEN_PROGRAM = address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");

const MINT_BYTES = 82;
const TOKEN_ACCOUNT_BYTES = 165;
const STATES = ["uninitialized", "initialized", "frozen"];

/** A token account, decoded; amounts in atomic units. */
export interface TokenAccount {
  readonly mint: Address;
  readonly owner: Address;
  readonly amount: bigint;
  readonly state: string;
  readonly isNative: boolean;
  readonly program: Address;
}

/** A mint, decoded. */
export interface Mint {
  readonly decimals: number;
  readonly supply: bigint;
  readonly mintAuthority: Address | null;
  readonly freezeAuthority: Address | null;
  readonly isInitialized: boolean;
}

/** A mint and the program it is of. */
export interface MintOf {
  readonly mint: Address;
  readonly program: Address;
}

export const USDC: MintOf = { mint: USDC_MINT, program: TOKEN_PROGRAM };
export const PLAY: MintOf = { mint: PLAY_MINT, program: TOKEN_2022_PROGRAM };

/** The part of an account that the decoders need. */
export interface AccountData {
  readonly data: ReadonlyUint8Array;
  readonly programAddress: Address;
}

const addresses = getAddressCodec();

/** The associated token account of an owner, without waiting for WebCrypto. */
export function associatedTokenAccount(owner: Address, { mint, program: tokenProgram }: MintOf): Address {
  const seeds = [owner, tokenProgram, mint].map((seed) => addresses.encode(seed));
  const program = addresses.encode(ASSOCIATED_TOKEN_PROGRAM);
  for (let bump = 255; bump >= 0; bump -= 1) {
    const hash = createHash("sha256");
    for (const seed of seeds) hash.update(Uint8Array.from(seed));
    hash.update(Uint8Array.of(bump)).update(Uint8Array.from(program)).update("ProgramDerivedAddress");
    const candidate = addresses.decode(hash.digest());
    if (isOffCurveAddress(candidate)) return candidate;
  }
  throw new Error(`No associated token account can be derived for ${owner}.`);
}

/** A mint as it is at the beginning: nothing minted, `authority` may mint. */
export function mintAccount(
  { mint, program }: MintOf,
  decimals: number,
  authority: Address,
  rent: bigint,
): EncodedAccount {
  const data = Buffer.alloc(MINT_BYTES);
  data.writeUInt32LE(1, 0);
  data.set(addresses.encode(authority), 4);
  data.writeUInt8(decimals, 44);
  data.writeUInt8(1, 45);
  return {
    address: mint,
    data,
    programAddress: program,
    lamports: lamports(rent),
    executable: false,
    space: BigInt(MINT_BYTES),
  };
}

/** Undefined if it is no initialised token account of either token program. */
export function readTokenAccount({ data, programAddress }: AccountData): TokenAccount | undefined {
  if (programAddress !== TOKEN_PROGRAM && programAddress !== TOKEN_2022_PROGRAM) return undefined;
  // Token-2022 appends its extensions after a byte that tells accounts (2) from mints (1).
  if (data.length < TOKEN_ACCOUNT_BYTES) return undefined;
  if (data.length > TOKEN_ACCOUNT_BYTES && data[TOKEN_ACCOUNT_BYTES] !== 2) return undefined;
  const view = Buffer.from(Uint8Array.from(data));
  const state = view.readUInt8(108);
  if (state === 0) return undefined;
  return {
    mint: addresses.decode(view, 0),
    owner: addresses.decode(view, 32),
    amount: view.readBigUInt64LE(64),
    state: STATES[state] ?? "initialized",
    isNative: view.readUInt32LE(109) === 1,
    program: programAddress,
  };
}

/** Undefined if it is no mint of either token program. */
export function readMint({ data, programAddress }: AccountData): Mint | undefined {
  if (programAddress !== TOKEN_PROGRAM && programAddress !== TOKEN_2022_PROGRAM) return undefined;
  if (data.length !== MINT_BYTES && data[TOKEN_ACCOUNT_BYTES] !== 1) return undefined;
  const view = Buffer.from(Uint8Array.from(data));
  return {
    mintAuthority: view.readUInt32LE(0) === 1 ? addresses.decode(view, 4) : null,
    supply: view.readBigUInt64LE(36),
    decimals: view.readUInt8(44),
    isInitialized: view.readUInt8(45) === 1,
    freezeAuthority: view.readUInt32LE(46) === 1 ? addresses.decode(view, 50) : null,
  };
}

/** A token amount as JSON-RPC writes it. `uiAmount` is a number because the format says so; nothing here reads it. */
export function tokenAmount(amount: bigint, decimals: number) {
  const uiAmountString = decimalString(amount, decimals);
  return { amount: amount.toString(), decimals, uiAmount: Number(uiAmountString), uiAmountString };
}

/** 5000000n with 6 decimals -> "5"; 20000n -> "0.02". */
function decimalString(amount: bigint, decimals: number): string {
  const unit = 10n ** BigInt(decimals);
  const fraction = (amount % unit).toString().padStart(decimals, "0").replace(/0+$/, "");
  const whole = (amount / unit).toString();
  return decimals === 0 || fraction === "" ? whole : `${whole}.${fraction}`;
}
