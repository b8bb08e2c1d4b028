import type { Address } from "@solana/kit";
import type { Chain, Landed } from "./chain.ts";
import type { TransactionFault } from "./svm-faults.ts";
import { associatedTokenAccount, type MintOf } from "./token.ts";

/** A landed transaction that moved, or failed to move, a token to a wallet. */
export interface LandedTransfer {
  readonly signature: string;
  /** Whose it was: the authority of the transfer. */
  readonly payer: string;
  /** What arrived, atomic units; 0n if the transaction failed. */
  readonly amount: bigint;
  /** As a node lists it, `"[5] hello"`. */
  readonly memo: string | null;
  /** SHA-256 of the message, hex. */
  readonly messageHash: string;
  readonly err: TransactionFault | null;
}

const TRANSFER = 3;
const TRANSFER_CHECKED = 12;

/** Every landed transaction with a transfer to the owner's associated account of a mint, oldest first. Mints are none. */
export function transfersTo(chain: Chain, owner: Address, of: MintOf): readonly LandedTransfer[] {
  const account = associatedTokenAccount(owner, of);
  return chain.historyOf(account).flatMap((landed) => {
    const transfers = tokenTransfers(landed, of.program).filter(({ destination }) => destination === account);
    const [first] = transfers;
    if (first === undefined) return [];
    const total = transfers.reduce((sum, { amount }) => sum + amount, 0n);
    const { signature, err } = landed;
    const { memo, messageHash } = landed.parsed;
    return [{ signature, payer: first.authority, amount: err === null ? total : 0n, memo, messageHash, err }];
  });
}

interface TokenTransfer {
  readonly destination: Address;
  readonly authority: Address;
  readonly amount: bigint;
}

function tokenTransfers(landed: Landed, tokenProgram: Address): readonly TokenTransfer[] {
  const direct = landed.parsed.message.instructions.map((each) => ({
    program: each.programAddressIndex,
    indexes: each.accountIndices ?? [],
    data: Buffer.from(each.data ?? []),
  }));
  const called = landed.inner.flat().map((each) => ({
    program: each.programIdIndex,
    indexes: each.accounts,
    data: Buffer.from(Uint8Array.from(each.data)),
  }));
  return [...direct, ...called].flatMap(({ program, indexes, data }) => {
    const checked = data[0] === TRANSFER_CHECKED;
    if (landed.accounts[program] !== tokenProgram || !(checked || data[0] === TRANSFER)) return [];
    const [destination, authority] = indexes.slice(checked ? 2 : 1).map((index) => landed.accounts[index]);
    if (destination === undefined || authority === undefined || data.length < 9) return [];
    return [{ destination, authority, amount: data.readBigUInt64LE(1) }];
  });
}
