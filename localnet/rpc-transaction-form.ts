import { getBase58Decoder } from "@solana/kit";
import type { Landed } from "./chain.ts";
import type { InnerInstruction, TokenBalance } from "./svm.ts";
import { tokenAmount } from "./token.ts";
import { isWritable } from "./transaction.ts";

export const TRANSACTION_ENCODINGS = ["json", "jsonParsed", "base58", "base64"] as const;
export type TransactionEncoding = (typeof TRANSACTION_ENCODINGS)[number];

const base58 = getBase58Decoder();

/** A landed transaction as `getTransaction` shows it. In `jsonParsed` the instructions keep their encoded data. */
export function describeTransaction(landed: Landed, encoding: TransactionEncoding, withVersion: boolean) {
  return {
    slot: landed.slot,
    blockTime: Math.floor(landed.at / 1000),
    transaction: encodeTransaction(landed, encoding),
    meta: describeMeta(landed, encoding),
    ...(withVersion ? { version: landed.parsed.message.version } : {}),
  };
}

function encodeTransaction(landed: Landed, encoding: TransactionEncoding): unknown {
  const { wire, transaction } = landed.parsed;
  if (encoding === "base64") return [Buffer.from(wire).toString("base64"), "base64"];
  if (encoding === "base58") return [base58.decode(wire), "base58"];
  const signatures = Object.values(transaction.signatures).map((each) =>
    base58.decode(each ?? new Uint8Array()),
  );
  return { signatures, message: encoding === "json" ? plainMessage(landed) : parsedMessage(landed) };
}

function topInstructions(landed: Landed): readonly InnerInstruction[] {
  return landed.parsed.message.instructions.map((each) => ({
    programIdIndex: each.programAddressIndex,
    accounts: each.accountIndices ?? [],
    data: each.data ?? new Uint8Array(),
    stackHeight: 1,
  }));
}

function plainMessage(landed: Landed) {
  const { message } = landed.parsed;
  const lookups = message.version === 0 ? (message.addressTableLookups ?? []) : [];
  return {
    accountKeys: message.staticAccounts,
    header: {
      numRequiredSignatures: message.header.numSignerAccounts,
      numReadonlySignedAccounts: message.header.numReadonlySignerAccounts,
      numReadonlyUnsignedAccounts: message.header.numReadonlyNonSignerAccounts,
    },
    recentBlockhash: message.lifetimeToken,
    instructions: topInstructions(landed).map(encoded),
    ...(message.version === 0
      ? {
          addressTableLookups: lookups.map(({ lookupTableAddress, ...indexes }) => ({
            accountKey: lookupTableAddress,
            ...indexes,
          })),
        }
      : {}),
  };
}

function parsedMessage(landed: Landed) {
  const { header, staticAccounts, lifetimeToken } = landed.parsed.message;
  const signers = header.numSignerAccounts;
  return {
    accountKeys: landed.accounts.map((pubkey, index) => ({
      pubkey,
      signer: index < signers,
      writable: isWritable(landed.parsed.message, index),
      source: index < staticAccounts.length ? "transaction" : "lookupTable",
    })),
    recentBlockhash: lifetimeToken,
    instructions: topInstructions(landed).map((each) => partlyDecoded(landed, each)),
  };
}

/** An instruction as `json` shows it. */
export function encoded(instruction: InnerInstruction) {
  return { ...instruction, data: base58.decode(instruction.data) };
}

function partlyDecoded(landed: Landed, { programIdIndex, accounts, data, stackHeight }: InnerInstruction) {
  return {
    programId: landed.accounts[programIdIndex],
    accounts: accounts.map((index) => landed.accounts[index]),
    data: base58.decode(data),
    stackHeight,
  };
}

function describeMeta(landed: Landed, encoding: TransactionEncoding) {
  const { err, before, after, inner } = landed;
  const sum = (list: readonly bigint[]): bigint => list.reduce((total, each) => total + each, 0n);
  return {
    err,
    status: err === null ? { Ok: null } : { Err: err },
    // What the transaction's accounts lost together went nowhere but into the fee.
    fee: sum(before.lamports) - sum(after.lamports),
    preBalances: before.lamports,
    postBalances: after.lamports,
    preTokenBalances: before.tokens.map(tokenBalance),
    postTokenBalances: after.tokens.map(tokenBalance),
    innerInstructions: inner.flatMap((instructions, index) => {
      if (instructions.length === 0) return [];
      const shown =
        encoding === "jsonParsed"
          ? instructions.map((each) => partlyDecoded(landed, each))
          : instructions.map(encoded);
      return [{ index, instructions: shown }];
    }),
    logMessages: landed.logs,
    loadedAddresses: landed.loaded,
    computeUnitsConsumed: landed.units,
    rewards: [],
  };
}

function tokenBalance({ accountIndex, mint, owner, program, amount, decimals }: TokenBalance) {
  return { accountIndex, mint, owner, programId: program, uiTokenAmount: tokenAmount(amount, decimals) };
}
