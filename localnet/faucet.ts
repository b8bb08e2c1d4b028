import { createHash } from "node:crypto";
import {
  AccountRole,
  type Address,
  address,
  appendTransactionMessageInstructions,
  compileTransaction,
  createTransactionMessage,
  getAddressCodec,
  getTransactionEncoder,
  type Instruction,
  pipe,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
} from "@solana/kit";
import type { Chain } from "./chain.ts";
import type { Wallet } from "./keys.ts";
import { ASSOCIATED_TOKEN_PROGRAM, associatedTokenAccount, type MintOf, SYSTEM_PROGRAM } from "./token.ts";
import { parseTransaction } from "./transaction.ts";

/** The chain would not have it: the address is no wallet, or the supply would overflow. */
export class FaucetRefusal extends Error {
  override readonly name = "FaucetRefusal";
}

/** Gives play money by ordinary transactions. Every method returns a signature and throws {@link FaucetRefusal}. */
export interface Faucet {
  /** Creates the token account if there is none, mints `amount` (atomic units) and gives a little SOL. */
  fund(owner: Address, amount: bigint, mint: MintOf): string;
  createTokenAccount(owner: Address, mint: MintOf): string;
  /** A new mint of which this faucet gives. */
  createMint(options: NewMint): Address;
  airdrop(to: Address, lamports: bigint): string;
}

export interface NewMint {
  readonly program: Address;
  readonly decimals: number;
  /** Of Token-2022: how many bytes each takes in the mint, and the instruction that sets it up there. */
  readonly extensions: readonly { readonly bytes: number; readonly data: Uint8Array }[];
}

/** 0.01 SOL: some thousand fees. */
const A_LITTLE_LAMPORTS = 10_000_000n;
const MEMO_PROGRAM = address("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");

/** `wallet` pays, and is every mint's authority on this chain. */
export function createFaucet(chain: Chain, wallet: Wallet): Faucet {
  let count = 0;

  function sign(instructions: readonly Instruction[]): Uint8Array {
    const message = pipe(
      createTransactionMessage({ version: 0 }),
      (draft) => setTransactionMessageFeePayer(wallet.address, draft),
      (draft) => setTransactionMessageLifetimeUsingBlockhash(chain.clock.latest(), draft),
      (draft) => appendTransactionMessageInstructions(instructions, draft),
    );
    const { messageBytes } = compileTransaction(message);
    const signatures = { [wallet.address]: wallet.sign(Uint8Array.from(messageBytes)) };
    return Uint8Array.from(getTransactionEncoder().encode({ messageBytes, signatures }));
  }

  function send(instructions: readonly Instruction[]): string {
    count += 1;
    // Two equal gifts within one block would be one transaction.
    const memo = {
      programAddress: MEMO_PROGRAM,
      data: Buffer.from(`localnet faucet ${count} ${Date.now()}`),
    };
    let wire: Uint8Array;
    try {
      wire = sign([...instructions, memo]);
    } catch (cause) {
      throw new FaucetRefusal("No transaction can pay this address.", { cause });
    }
    const parsed = parseTransaction(wire);
    if (parsed === undefined) throw new FaucetRefusal("The faucet's transaction is malformed.");
    const result = chain.submit(parsed);
    const { err } = result.outcome === "landed" ? result.landed : result.execution;
    if (result.outcome === "refused" || err !== null) throw new FaucetRefusal(JSON.stringify(err));
    return result.landed.signature;
  }

  return {
    fund: (owner, amount, mint) =>
      send([
        createAccount(wallet.address, owner, mint),
        mintTo(wallet.address, owner, amount, mint),
        transferSol(wallet.address, owner, A_LITTLE_LAMPORTS),
      ]),
    createTokenAccount: (owner, mint) => send([createAccount(wallet.address, owner, mint)]),
    createMint({ program, decimals, extensions }) {
      const seed = `mint ${count} ${Date.now()}`;
      const mint = addressWithSeed(wallet.address, seed, program);
      const bytes = extensions.length === 0 ? MINT_BYTES : EXTENDED_MINT_BYTES;
      const space = extensions.reduce((sum, each) => sum + EXTENSION_HEAD_BYTES + each.bytes, bytes);
      const lamports = chain.rentExemption(BigInt(space));
      const accounts = [{ address: mint, role: AccountRole.WRITABLE }];
      send([
        createAccountWithSeed(wallet.address, mint, { seed, lamports, space, program }),
        ...extensions.map(({ data }) => ({ programAddress: program, accounts, data })),
        { programAddress: program, accounts, data: initializeMint(decimals, wallet.address) },
      ]);
      return mint;
    },
    airdrop: (to, lamports) => send([transferSol(wallet.address, to, lamports)]),
  };
}

const MINT_BYTES = 82;
/** With Token-2022's byte that tells mints from accounts. */
const EXTENDED_MINT_BYTES = 166;
const EXTENSION_HEAD_BYTES = 4;
const addresses = getAddressCodec();

function addressWithSeed(base: Address, seed: string, program: Address): Address {
  const hash = createHash("sha256");
  hash.update(Uint8Array.from(addresses.encode(base))).update(seed);
  return addresses.decode(hash.update(Uint8Array.from(addresses.encode(program))).digest());
}

interface SeededAccount {
  readonly seed: string;
  readonly lamports: bigint;
  readonly space: number;
  readonly program: Address;
}

/** System program: CreateAccountWithSeed, with the payer as base. */
function createAccountWithSeed(
  payer: Address,
  account: Address,
  { seed, lamports, space, program }: SeededAccount,
): Instruction {
  const head = Buffer.alloc(44);
  head.writeUInt32LE(3, 0);
  head.set(addresses.encode(payer), 4);
  head.writeBigUInt64LE(BigInt(seed.length), 36);
  const sizes = Buffer.alloc(16);
  sizes.writeBigUInt64LE(lamports, 0);
  sizes.writeBigUInt64LE(BigInt(space), 8);
  const owner = Uint8Array.from(addresses.encode(program));
  return {
    programAddress: SYSTEM_PROGRAM,
    accounts: [
      { address: payer, role: AccountRole.WRITABLE_SIGNER },
      { address: account, role: AccountRole.WRITABLE },
    ],
    data: Buffer.concat([head, Buffer.from(seed), sizes, owner]),
  };
}

/** Token programs: InitializeMint2, without a freeze authority. */
function initializeMint(decimals: number, authority: Address): Uint8Array {
  const data = Buffer.alloc(35);
  data.writeUInt8(20, 0);
  data.writeUInt8(decimals, 1);
  data.set(addresses.encode(authority), 2);
  return data;
}

/** Associated token program: CreateIdempotent. */
function createAccount(payer: Address, owner: Address, of: MintOf): Instruction {
  return {
    programAddress: ASSOCIATED_TOKEN_PROGRAM,
    accounts: [
      { address: payer, role: AccountRole.WRITABLE_SIGNER },
      { address: associatedTokenAccount(owner, of), role: AccountRole.WRITABLE },
      { address: owner, role: AccountRole.READONLY },
      { address: of.mint, role: AccountRole.READONLY },
      { address: SYSTEM_PROGRAM, role: AccountRole.READONLY },
      { address: of.program, role: AccountRole.READONLY },
    ],
    data: Uint8Array.of(1),
  };
}

/** Token program: MintTo. */
function mintTo(authority: Address, owner: Address, amount: bigint, of: MintOf): Instruction {
  const data = Buffer.alloc(9);
  data.writeUInt8(7, 0);
  data.writeBigUInt64LE(amount, 1);
  return {
    programAddress: of.program,
    accounts: [
      { address: of.mint, role: AccountRole.WRITABLE },
      { address: associatedTokenAccount(owner, of), role: AccountRole.WRITABLE },
      { address: authority, role: AccountRole.READONLY_SIGNER },
    ],
    data,
  };
}

/** System program: Transfer. */
function transferSol(from: Address, to: Address, lamports: bigint): Instruction {
  const data = Buffer.alloc(12);
  data.writeUInt32LE(2, 0);
  data.writeBigUInt64LE(lamports, 4);
  return {
    programAddress: SYSTEM_PROGRAM,
    accounts: [
      { address: from, role: AccountRole.WRITABLE_SIGNER },
      { address: to, role: AccountRole.WRITABLE },
    ],
    data,
  };
}
