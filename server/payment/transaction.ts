import { isUtf8 } from "node:buffer";
import { hash } from "node:crypto";
import {
  associatedTokenAccount,
  Cursor,
  decodeAddress,
  encodeAddress,
  isSignedBy,
  KEY_BYTES,
  programId,
} from "./solana-bytes.ts";

/**
 * Why a transaction is no payment, whatever the terms are.
 * `malformed`: not the one canonical encoding of a transaction. `layout`: other instructions than the exact scheme's.
 * `fee_payer`: it takes part in the transfer. `signers`: others than fee payer and payer must sign. `source`: not the payer's
 * associated token account.
 */
type TransactionProblem = "malformed" | "layout" | "fee_payer" | "signers" | "source";

/** Which of the terms a payment misses. */
type TermsProblem = "amount" | "asset" | "recipient";

/** A transfer as the chain will execute it, if {@link isSigned}. Addresses are base58. */
export interface DecodedPayment {
  /** SHA-256 (hex) of the message bytes; unlike the transaction id it does not wait for the fee payer's signature. */
  readonly id: string;
  readonly payer: string;
  readonly payerBytes: Buffer;
  /** Atomic units of `asset`. */
  readonly amount: bigint;
  readonly asset: string;
  /** Empty if it has none. */
  readonly memo: string;
  readonly feePayer: string;
  readonly blockhash: string;
  readonly assetBytes: Buffer;
  /** The token account that receives, and the token program that moves. */
  readonly destination: Buffer;
  readonly tokenProgram: Buffer;
  /** What the payer is to have signed, and what stands in the place of its signature. */
  readonly message: Buffer;
  readonly signature: Buffer;
}

type DecodeResult =
  | { readonly ok: true; readonly payment: DecodedPayment }
  | { readonly ok: false; readonly problem: TransactionProblem };

/** What a payment must do. `amount` is a plain decimal of atomic units, addresses are base58. */
interface PaymentTerms {
  readonly amount: string;
  readonly asset: string;
  readonly payTo: string;
}

const COMPUTE_BUDGET = programId("ComputeBudget111111111111111111111111111111");
const TOKEN = programId("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
const TOKEN_2022 = programId("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
const MEMO = programId("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
const LIGHTHOUSE = programId("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95");

const SET_COMPUTE_UNIT_LIMIT = 2;
const SET_COMPUTE_UNIT_PRICE = 3;
const TRANSFER_CHECKED = 12;
/** 5 lamports for each compute unit; no facilitator signs for more (scheme_exact_svm.md §3.1). */
const MAX_PRICE_MICRO_LAMPORTS = 5_000_000n;
const MAX_INSTRUCTIONS = 7;

const PACKET_BYTES = 1232;
/** Characters of the longest transaction in base64. */
export const MAX_TRANSACTION_CHARS = 4 * Math.ceil(PACKET_BYTES / 3);
const SIGNATURE_BYTES = 64;
const VERSION_0 = 0x80;

interface Instruction {
  readonly program: Buffer;
  readonly accounts: readonly Buffer[];
  readonly data: Buffer;
}

interface Transaction {
  readonly signatures: readonly Buffer[];
  readonly message: Buffer;
  readonly feePayer: Buffer;
  readonly signers: readonly Buffer[];
  readonly blockhash: Buffer;
  readonly instructions: readonly Instruction[];
}

interface Transfer {
  readonly tokenProgram: Buffer;
  readonly source: Buffer;
  readonly mint: Buffer;
  readonly destination: Buffer;
  readonly authority: Buffer;
  readonly accounts: readonly Buffer[];
  readonly amount: bigint;
  readonly memo: string;
}

/**
 * Reads a transaction (base64 of its wire form) and checks all that needs neither terms nor network: the static
 * layout of scheme_exact_svm.md §3.1, exactly two signers (§2.1.4), the fee payer outside the transfer, the payer's associated
 * token account as source (there the payment can be found again on the chain). All but the payer's signature, which is dear:
 * until {@link isSigned} says so, nobody has signed this. The fee payer's is not looked at. Pure; never throws.
 */
export function decodePayment(base64: string): DecodeResult {
  const transaction = readTransaction(base64);
  if (typeof transaction === "string") return { ok: false, problem: transaction };
  const transfer = readTransfer(transaction.instructions);
  if (transfer === undefined) return { ok: false, problem: "layout" };
  const problem = findProblem(transaction, transfer);
  if (problem !== undefined) return { ok: false, problem };
  const payment = {
    id: hash("sha256", transaction.message, "hex"),
    payer: textOf(transfer.authority),
    payerBytes: transfer.authority,
    amount: transfer.amount,
    asset: textOf(transfer.mint),
    assetBytes: transfer.mint,
    memo: transfer.memo,
    feePayer: textOf(transaction.feePayer),
    blockhash: textOf(transaction.blockhash),
    destination: transfer.destination,
    tokenProgram: transfer.tokenProgram,
    message: transaction.message,
    signature: transaction.signatures[1] ?? NO_SIGNATURE,
  };
  return { ok: true, payment };
}

const NO_SIGNATURE = Buffer.alloc(SIGNATURE_BYTES);

/** Whether the payer has signed it. Rejects if that could not be checked. About 0.1 ms of a pool thread. */
export function isSigned({ payerBytes, message, signature }: DecodedPayment): Promise<boolean> {
  return isSignedBy(payerBytes, message, signature);
}

/** Nearly every payment names the same asset, fee payer, blockhash and recipient, and base58 is long division. */
const MAX_KNOWN_ADDRESSES = 1024;
const textOf = remember(encodeAddress, (bytes) => bytes.toString("latin1"));
const bytesOf = remember(decodeAddress, (address) => address);

/** A function of the input alone, whose latest results are kept. The results are shared: nobody may write into them. */
function remember<Input, Result>(
  compute: (input: Input) => Result,
  nameOf: (input: Input) => string,
): (input: Input) => Result {
  const known = new Map<string, Result>();
  return (input) => {
    const name = nameOf(input);
    const found = known.get(name);
    if (found !== undefined) return found;
    const result = compute(input);
    const [oldest] = known.size >= MAX_KNOWN_ADDRESSES ? known.keys() : [];
    if (oldest !== undefined) known.delete(oldest);
    known.set(name, result);
    return result;
  };
}

/** Compares a payment with terms: exactly this amount, of this mint, to payTo's associated token account. Never throws. */
export function matchTerms(payment: DecodedPayment, terms: PaymentTerms): TermsProblem | undefined {
  if (payment.amount.toString() !== terms.amount) return "amount";
  if (payment.asset !== terms.asset) return "asset";
  const payTo = bytesOf(terms.payTo);
  if (payTo === undefined) return "recipient";
  const account = associatedTokenAccount(payTo, payment.assetBytes, payment.tokenProgram);
  return account?.equals(payment.destination) === true ? undefined : "recipient";
}

function readTransaction(base64: string): Transaction | "malformed" | "layout" {
  if (base64.length > MAX_TRANSACTION_CHARS) return "malformed";
  const bytes = Buffer.from(base64, "base64");
  // Node's decoder forgives much; only what encodes back to the same text is canonical.
  if (bytes.length > PACKET_BYTES || bytes.toString("base64") !== base64) return "malformed";
  const cursor = new Cursor(bytes);
  const signatures = cursor.list(() => cursor.take(SIGNATURE_BYTES));
  const message = cursor.rest();
  const prefix = cursor.byte();
  const versioned = prefix === VERSION_0;
  const signerCount = versioned ? cursor.byte() : prefix;
  const readonlySigners = cursor.byte();
  const readonlyOthers = cursor.byte();
  const keys = cursor.list(() => cursor.take(KEY_BYTES));
  const blockhash = cursor.take(KEY_BYTES);
  const compiled = cursor.list(() => {
    const program = cursor.byte();
    const accounts = cursor.take(cursor.length());
    return { program, accounts, data: cursor.take(cursor.length()) };
  });
  // Accounts that come from lookup tables cannot be judged without asking the chain.
  if (versioned && cursor.length() !== 0) return "layout";
  const [feePayer] = keys;
  // A prefix above 0x80 is a version nobody knows; as a count of signers it exceeds any packet.
  if (!cursor.complete || feePayer === undefined || signatures.length !== signerCount) return "malformed";
  if (readonlySigners >= signerCount || signerCount + readonlyOthers > keys.length) return "malformed";
  // Before they are looked into, so that hundreds of empty ones cost nothing.
  if (compiled.length > MAX_INSTRUCTIONS) return "layout";
  const instructions: Instruction[] = [];
  for (const { program, accounts, data } of compiled) {
    const programKey = program === 0 ? undefined : keys[program];
    if (programKey === undefined || accounts.some((index) => index >= keys.length)) return "malformed";
    instructions.push({ program: programKey, accounts: pick(keys, accounts), data });
  }
  return { signatures, message, feePayer, signers: keys.slice(0, signerCount), blockhash, instructions };
}

function pick(keys: readonly Buffer[], indices: Buffer): Buffer[] {
  const picked: Buffer[] = [];
  for (const index of indices) {
    const key = keys[index];
    if (key !== undefined) picked.push(key);
  }
  return picked;
}

/** The transfer, if the instructions are those of the exact scheme and no others (scheme_exact_svm.md §3.1). */
function readTransfer(instructions: readonly Instruction[]): Transfer | undefined {
  const [limit, price, transfer, ...optional] = instructions;
  if (limit === undefined || price === undefined || transfer === undefined) return undefined;
  if (!isCall(limit, COMPUTE_BUDGET, SET_COMPUTE_UNIT_LIMIT, 5)) return undefined;
  if (!isCall(price, COMPUTE_BUDGET, SET_COMPUTE_UNIT_PRICE, 9)) return undefined;
  if (price.data.readBigUInt64LE(1) > MAX_PRICE_MICRO_LAMPORTS) return undefined;
  const tokenProgram = transfer.program.equals(TOKEN_2022) ? TOKEN_2022 : TOKEN;
  if (!isCall(transfer, tokenProgram, TRANSFER_CHECKED, 10)) return undefined;
  const [source, mint, destination, authority] = transfer.accounts;
  if (!source || !mint || !destination || !authority) return undefined;
  const memo = readMemo(optional);
  if (memo === undefined) return undefined;
  const amount = transfer.data.readBigUInt64LE(1);
  return { tokenProgram, source, mint, destination, authority, accounts: transfer.accounts, amount, memo };
}

function isCall(instruction: Instruction, program: Buffer, discriminator: number, bytes: number): boolean {
  const { data } = instruction;
  return data.length === bytes && data[0] === discriminator && instruction.program.equals(program);
}

/** The memo among the optional instructions, "" if there is none; undefined if there are others than allowed. */
function readMemo(optional: readonly Instruction[]): string | undefined {
  const [memo, ...others] = optional.filter(({ program }) => !program.equals(LIGHTHOUSE));
  if (memo === undefined) return "";
  return others.length === 0 && memo.program.equals(MEMO) && isUtf8(memo.data)
    ? memo.data.toString("utf8")
    : undefined;
}

function findProblem(transaction: Transaction, transfer: Transfer): TransactionProblem | undefined {
  const { feePayer, signers } = transaction;
  const { authority, mint, tokenProgram } = transfer;
  if (transfer.accounts.some((account) => account.equals(feePayer))) return "fee_payer";
  const [, payer, ...others] = signers;
  if (payer?.equals(authority) !== true || others.length > 0) return "signers";
  const account = associatedTokenAccount(authority, mint, tokenProgram);
  return account?.equals(transfer.source) === true ? undefined : "source";
}
