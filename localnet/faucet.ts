import {
  AccountRole,
  type Address,
  address,
  appendTransactionMessageInstructions,
  compileTransaction,
  createTransactionMessage,
  getTransactionEncoder,
  type Instruction,
  pipe,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
} from "@solana/kit";
import type { Chain } from "./chain.ts";
import type { Wallet } from "./keys.ts";
import {
  ASSOCIATED_TOKEN_PROGRAM,
  associatedTokenAccount,
  SYSTEM_PROGRAM,
  TOKEN_PROGRAM,
  USDC_MINT,
} from "./token.ts";
import { parseTransaction } from "./transaction.ts";

/** The chain would not have it: the address is no wallet, or the supply would overflow. */
export class FaucetRefusal extends Error {
  override readonly name = "FaucetRefusal";
}

/** Gives play money by ordinary transactions. Every method returns a signature and throws {@link FaucetRefusal}. */
export interface Faucet {
  /** Creates the USDC account if there is none, mints `amount` (atomic units) and gives a little SOL. */
  fund(owner: Address, amount: bigint): string;
  createTokenAccount(owner: Address): string;
  airdrop(to: Address, lamports: bigint): string;
}

/** 0.01 SOL: some thousand fees. */
const A_LITTLE_LAMPORTS = 10_000_000n;
const MEMO_PROGRAM = address("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");

/** `wallet` pays, and is USDC's mint authority on this chain. */
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
    fund: (owner, amount) =>
      send([
        createAccount(wallet.address, owner),
        mintTo(wallet.address, owner, amount),
        transferSol(wallet.address, owner, A_LITTLE_LAMPORTS),
      ]),
    createTokenAccount: (owner) => send([createAccount(wallet.address, owner)]),
    airdrop: (to, lamports) => send([transferSol(wallet.address, to, lamports)]),
  };
}

/** Associated token program: CreateIdempotent. */
function createAccount(payer: Address, owner: Address): Instruction {
  return {
    programAddress: ASSOCIATED_TOKEN_PROGRAM,
    accounts: [
      { address: payer, role: AccountRole.WRITABLE_SIGNER },
      { address: associatedTokenAccount(owner, USDC_MINT), role: AccountRole.WRITABLE },
      { address: owner, role: AccountRole.READONLY },
      { address: USDC_MINT, role: AccountRole.READONLY },
      { address: SYSTEM_PROGRAM, role: AccountRole.READONLY },
      { address: TOKEN_PROGRAM, role: AccountRole.READONLY },
    ],
    data: Uint8Array.of(1),
  };
}

/** Token program: MintTo. */
function mintTo(authority: Address, owner: Address, amount: bigint): Instruction {
  const data = Buffer.alloc(9);
  data.writeUInt8(7, 0);
  data.writeBigUInt64LE(amount, 1);
  return {
    programAddress: TOKEN_PROGRAM,
    accounts: [
      { address: USDC_MINT, role: AccountRole.WRITABLE },
      { address: associatedTokenAccount(owner, USDC_MINT), role: AccountRole.WRITABLE },
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
