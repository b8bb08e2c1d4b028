import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import {
  type Address,
  address,
  getAddressDecoder,
  getAddressEncoder,
  getProgramDerivedAddress,
} from "@solana/kit";

export const USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
export const EURC = "HzwqbKZw8HxMN6bF2yFZNrht3c2iXXzpKcFu7uBEDKtr";
export const TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
export const TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb";
export const MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr";
export const AMOUNT = 20_000n;

const LIGHTHOUSE = "L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95";
const COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111";
const SYSTEM = "11111111111111111111111111111111";
const TRANSFER_AT = 2;

export interface Wallet {
  readonly bytes: Buffer;
  readonly seed: Buffer;
  readonly key: KeyObject;
  readonly address: Address;
}

function createWallet(): Wallet {
  const { privateKey } = generateKeyPairSync("ed25519");
  const { x = "", d = "" } = privateKey.export({ format: "jwk" });
  const bytes = Buffer.from(x, "base64url");
  return { bytes, seed: Buffer.from(d, "base64url"), key: privateKey, address: toAddress(bytes) };
}

export const payer = createWallet();
export const other = createWallet();
export const sponsor = createWallet();
export const merchant = createWallet();

/** Base58 by kit. */
export function toAddress(bytes: Uint8Array): Address {
  return getAddressDecoder().decode(bytes);
}

/** The 32 bytes of an address, by kit. */
export function toBytes(text: string): Buffer {
  return Buffer.from(getAddressEncoder().encode(address(text)));
}

/** The associated token account, by kit. */
export async function accountByKit(owner: Uint8Array, mint: string, program = TOKEN): Promise<Buffer> {
  const [account] = await getProgramDerivedAddress({
    programAddress: address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"),
    seeds: [owner, toBytes(program), toBytes(mint)],
  });
  return toBytes(account);
}

const accounts = new Map<string, Buffer>();
for (const wallet of [payer, other, merchant]) {
  for (const mint of [USDC, EURC]) {
    for (const program of [TOKEN, TOKEN_2022]) {
      const account = await accountByKit(wallet.bytes, mint, program);
      accounts.set(`${wallet.address} ${mint} ${program}`, account);
    }
  }
}

export function accountOf(wallet: Wallet, mint = USDC, program = TOKEN): Buffer {
  const account = accounts.get(`${wallet.address} ${mint} ${program}`);
  if (account === undefined) throw new Error("No such account was prepared.");
  return account;
}

export interface Call {
  readonly program: string;
  readonly accounts: readonly Buffer[];
  readonly data: Buffer;
}

type Counts = readonly [signers: number, readonlySigners: number, readonlyOthers: number];

/** A transaction that can be bent in every way before it is encoded and signed. */
export interface Draft {
  readonly versioned: boolean;
  /** The first one pays the fee. */
  readonly signers: readonly Wallet[];
  readonly calls: readonly Call[];
  readonly lookups: Buffer;
  readonly tail: Buffer;
  readonly header: (counts: Counts) => Counts;
}

export type Edit = (draft: Draft) => Draft;

export function transferData(amount: bigint, discriminator = 12): Buffer {
  const data = Buffer.alloc(10);
  data.writeUInt8(discriminator);
  data.writeBigUInt64LE(amount, 1);
  data.writeUInt8(6, 9);
  return data;
}

export function priceCall(microLamports: bigint): Call {
  const data = Buffer.alloc(9);
  data.writeUInt8(3);
  data.writeBigUInt64LE(microLamports, 1);
  return { program: COMPUTE_BUDGET, accounts: [], data };
}

export function memoCall(text: string | Buffer, program = MEMO): Call {
  return { program, accounts: [], data: Buffer.from(text) };
}

export const limitCall: Call = {
  program: COMPUTE_BUDGET,
  accounts: [],
  data: Buffer.from([2, 32, 78, 0, 0]),
};
export const assertCall: Call = {
  program: LIGHTHOUSE,
  accounts: [payer.bytes],
  data: Buffer.from([6, 1, 2, 3]),
};
/** AdvanceNonceAccount: it would make the signature outlive every blockhash. */
export const nonceCall: Call = {
  program: SYSTEM,
  accounts: [randomBytes(32), toBytes("SysvarRecentB1ockHashes11111111111111111111"), payer.bytes],
  data: Buffer.from([4, 0, 0, 0]),
};

/** A payment as the official client drafts it. */
export function draftPayment(from = payer, mint = USDC, program = TOKEN, amount = AMOUNT): Draft {
  const transfer = {
    program,
    accounts: [accountOf(from, mint, program), toBytes(mint), accountOf(merchant, mint, program), from.bytes],
    data: transferData(amount),
  };
  return {
    versioned: true,
    signers: [sponsor, from],
    calls: [limitCall, priceCall(1n), transfer, memoCall("Y2hhbGxlbmdlIG1lbW8g")],
    lookups: Buffer.from([0]),
    tail: Buffer.alloc(0),
    header: (counts) => counts,
  };
}

export const set =
  (change: Partial<Draft>): Edit =>
  (draft) => ({ ...draft, ...change });

/** As `Array.prototype.splice` on the instructions. */
export const splice =
  (at: number, remove: number, ...calls: Call[]): Edit =>
  (draft) => ({ ...draft, calls: draft.calls.toSpliced(at, remove, ...calls) });

export const append =
  (...calls: Call[]): Edit =>
  (draft) => ({ ...draft, calls: [...draft.calls, ...calls] });

export const transfer =
  (change: Partial<Call>): Edit =>
  (draft) => ({
    ...draft,
    calls: draft.calls.map((call, at) => (at === TRANSFER_AT ? { ...call, ...change } : call)),
  });

/** Puts `key` in place of the transfer's account at `at`: source, mint, destination, authority, then further ones. */
export const account =
  (at: number, ...keys: Buffer[]): Edit =>
  (draft) =>
    transfer({ accounts: (draft.calls[TRANSFER_AT]?.accounts ?? []).toSpliced(at, 1, ...keys) })(draft);

function compact(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >> 7];
}

export function encodeMessage(draft: Draft): Buffer {
  const keys = draft.signers.map(({ bytes }) => bytes);
  for (const call of draft.calls) {
    for (const key of [...call.accounts, toBytes(call.program)]) {
      if (!keys.some((known) => known.equals(key))) keys.push(key);
    }
  }
  const index = (key: Buffer) => keys.findIndex((known) => known.equals(key));
  const calls = draft.calls.map((call) => [
    index(toBytes(call.program)),
    ...compact(call.accounts.length),
    ...call.accounts.map(index),
    ...compact(call.data.length),
    ...call.data,
  ]);
  return Buffer.from([
    ...(draft.versioned ? [0x80] : []),
    ...draft.header([draft.signers.length, 0, new Set(draft.calls.map(({ program }) => program)).size]),
    ...compact(keys.length),
    ...Buffer.concat(keys),
    ...Buffer.alloc(32, 7),
    ...compact(calls.length),
    ...calls.flat(),
    ...(draft.versioned ? draft.lookups : []),
    ...draft.tail,
  ]);
}

/** The wire form, signed by all but the fee payer. */
export function signMessage(message: Buffer, signers: readonly Wallet[] = [sponsor, payer]): Buffer {
  const signatures = signers.map((wallet) =>
    wallet === sponsor ? Buffer.alloc(64) : sign(null, message, wallet.key),
  );
  return Buffer.concat([Buffer.from(compact(signers.length)), ...signatures, message]);
}

export function build(...edits: Edit[]): Buffer {
  const draft = edits.reduce((bent, edit) => edit(bent), draftPayment());
  return signMessage(encodeMessage(draft), draft.signers);
}
