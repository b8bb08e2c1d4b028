import { createHash } from "node:crypto";
import {
  type Address,
  address,
  type CompiledTransactionMessage,
  type CompiledTransactionMessageWithLifetime,
  getBase58Decoder,
  getCompiledTransactionMessageDecoder,
  getCompiledTransactionMessageEncoder,
  getTransactionDecoder,
  type Transaction,
} from "@solana/kit";

export type Message = CompiledTransactionMessage & CompiledTransactionMessageWithLifetime;

/** A transaction in its wire form, taken apart. */
export interface ParsedTransaction {
  readonly wire: Uint8Array;
  readonly transaction: Transaction;
  readonly message: Message;
  /** SHA-256 (hex) of the message: two transactions with one message are one payment. */
  readonly messageHash: string;
  /** The fee payer's signature in base58, which is the transaction's name; undefined if it has not signed yet. */
  readonly signature: string | undefined;
  readonly isFullySigned: boolean;
  /** The memos as a node lists them, `"[5] hello"`, several joined by `"; "`. */
  readonly memo: string | null;
}

/** A packet of Solana's network: no transaction is longer. */
const MAX_WIRE_BYTES = 1232;
const MEMO_PROGRAMS: readonly Address[] = [
  address("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"),
  address("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"),
];

const base58 = getBase58Decoder();
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Undefined if the bytes are no transaction. */
export function parseTransaction(wire: Uint8Array): ParsedTransaction | undefined {
  if (wire.length > MAX_WIRE_BYTES) return undefined;
  try {
    const transaction = getTransactionDecoder().decode(wire);
    const bytes = Uint8Array.from(transaction.messageBytes);
    const message = getCompiledTransactionMessageDecoder().decode(bytes);
    // A message that could be written in two ways would have two hashes, and could land twice.
    if (!Buffer.from(getCompiledTransactionMessageEncoder().encode(message)).equals(bytes)) return undefined;
    const signatures = Object.values(transaction.signatures);
    const [first] = signatures;
    return {
      wire,
      transaction,
      message,
      messageHash: createHash("sha256").update(bytes).digest("hex"),
      signature: first == null ? undefined : base58.decode(first),
      isFullySigned: signatures.every((signature) => signature !== null),
      memo: memoOf(message),
    };
  } catch {
    return undefined;
  }
}

/** Whether the transaction may change the account at this place, by its message; lookup tables list writable ones first. */
export function isWritable({ header, staticAccounts, ...rest }: Message, index: number): boolean {
  const { numSignerAccounts: signers } = header;
  if (index < signers) return index < signers - header.numReadonlySignerAccounts;
  if (index < staticAccounts.length)
    return index < staticAccounts.length - header.numReadonlyNonSignerAccounts;
  const lookups = rest.version === 0 ? (rest.addressTableLookups ?? []) : [];
  const loaded = lookups.reduce((sum, { writableIndexes }) => sum + writableIndexes.length, 0);
  return index < staticAccounts.length + loaded;
}

function memoOf(message: Message): string | null {
  const memos = message.instructions.flatMap(({ programAddressIndex, data }) => {
    const program = message.staticAccounts[programAddressIndex];
    if (program === undefined || !MEMO_PROGRAMS.includes(program)) return [];
    return [`[${data?.length ?? 0}] ${memoText(Uint8Array.from(data ?? []))}`];
  });
  return memos.length === 0 ? null : memos.join("; ");
}

function memoText(data: Uint8Array): string {
  try {
    return utf8.decode(data);
  } catch {
    return "(unparseable)";
  }
}
