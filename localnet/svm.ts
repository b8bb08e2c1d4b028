import {
  type Address,
  type EncodedAccount,
  getAddressCodec,
  lamports,
  type ReadonlyUint8Array,
} from "@solana/kit";
import { Clock, FailedTransactionMetadata, LiteSVM, type TransactionMetadata } from "litesvm";
import { type TransactionFault, toFault } from "./svm-faults.ts";
import {
  mintAccount,
  PLAY,
  PLAY_DECIMALS,
  readMint,
  readTokenAccount,
  SYSTEM_PROGRAM,
  USDC,
  USDC_DECIMALS,
  USDC_MINT,
} from "./token.ts";
import { isWritable, type ParsedTransaction } from "./transaction.ts";

/** A token account's balance beside a transaction; `accountIndex` counts in the transaction's accounts. */
export interface TokenBalance {
  readonly accountIndex: number;
  readonly mint: Address;
  readonly owner: Address;
  readonly program: Address;
  readonly amount: bigint;
  readonly decimals: number;
}

interface Balances {
  readonly lamports: readonly bigint[];
  readonly tokens: readonly TokenBalance[];
}

/** An instruction called by a program; indexes count in the transaction's accounts. */
export interface InnerInstruction {
  readonly programIdIndex: number;
  readonly accounts: readonly number[];
  readonly data: ReadonlyUint8Array;
  readonly stackHeight: number;
}

/** What running a transaction gave. */
export interface Execution {
  readonly err: TransactionFault | null;
  readonly logs: readonly string[];
  readonly units: bigint;
  /** One list for each instruction of the message. */
  readonly inner: readonly (readonly InnerInstruction[])[];
}

/** A transaction that changed the chain: `err` null = as it wished, else only its fee was taken. */
export interface Settled extends Execution {
  readonly accounts: readonly Address[];
  /** Accounts that came from lookup tables, after the message's own; the writable ones first. */
  readonly loaded: { readonly writable: readonly Address[]; readonly readonly: readonly Address[] };
  readonly before: Balances;
  readonly after: Balances;
}

export interface SvmOptions {
  /** Holds the SOL and may mint both tokens. */
  readonly faucet: Address;
  readonly feePayer: Address;
}

/** LiteSVM, with mainnet's USDC mint and the play token's in it. Checks neither blockhashes nor duplicates: that is the chain's part. */
export interface Svm {
  /** Slot and time that programs see. */
  setTime(slot: bigint, atMs: number): void;
  /** Undefined if the transaction changed nothing (it could not even pay its fee). */
  execute(
    parsed: ParsedTransaction,
    sigVerify: boolean,
  ): Execution & { readonly settled: Settled | undefined };
  simulate(parsed: ParsedTransaction, sigVerify: boolean): Execution;
  account(of: Address): EncodedAccount | undefined;
  lamports(of: Address): bigint;
  accountsOf(program: Address): readonly EncodedAccount[];
  rentExemption(bytes: bigint): bigint;
}

const SLOTS_PER_EPOCH = 432_000n;
/** A million SOL each; small enough to stay exact in a JSON number. */
const FAUCET_LAMPORTS = 1_000_000n * 1_000_000_000n;
/** Where the addresses begin in a lookup table's data. */
const LOOKUP_TABLE_HEADER_BYTES = 56;
const ADDRESS_BYTES = 32;

const addresses = getAddressCodec();

/** Starts an {@link Svm} at its beginning. */
export function createSvm(options: SvmOptions): Svm {
  // LiteSVM's own history compares signatures and forgets; the chain compares messages (see chain.ts).
  const svm = new LiteSVM().withTransactionHistory(0n).withBlockhashCheck(false).withSigverify(false);
  const rent = svm.minimumBalanceForRentExemption(82n);
  svm.setAccount(mintAccount(USDC, USDC_DECIMALS, options.faucet, rent));
  svm.setAccount(mintAccount(PLAY, PLAY_DECIMALS, options.faucet, rent));
  for (const wallet of [options.faucet, options.feePayer]) svm.setAccount(richAccount(wallet));

  function account(of: Address): EncodedAccount | undefined {
    const found = svm.getAccount(of);
    return found.exists ? found : undefined;
  }

  return {
    setTime: (slot, atMs) => {
      const epoch = slot / SLOTS_PER_EPOCH;
      const seconds = BigInt(Math.floor(atMs / 1000));
      svm.setClock(new Clock(slot, seconds, epoch, epoch + 1n, seconds));
    },
    execute: (parsed, sigVerify) => {
      if (sigVerify && !parsed.isFullySigned) return { ...fault("SignatureFailure"), settled: undefined };
      const { accounts, loaded } = resolveAccounts(parsed, account);
      const reader = readBalances(svm, parsed, accounts);
      const result = svm.withSigverify(sigVerify).sendTransaction(parsed.transaction);
      svm.withSigverify(false);
      const execution = describe(result);
      const { before } = reader;
      const after = reader.after();
      // A failed transaction is on the chain exactly if its fee was taken.
      const landed = execution.err === null || before.lamports[0] !== after.lamports[0];
      return {
        ...execution,
        settled: landed ? { ...execution, accounts, loaded, before, after } : undefined,
      };
    },
    simulate: (parsed, sigVerify) => {
      if (sigVerify && !parsed.isFullySigned) return fault("SignatureFailure");
      const result = svm.withSigverify(sigVerify).simulateTransaction(parsed.transaction);
      svm.withSigverify(false);
      return describe(result instanceof FailedTransactionMetadata ? result : result.meta());
    },
    account,
    lamports: (of) => svm.getBalance(of) ?? 0n,
    accountsOf: (program) => svm.getProgramAccounts(program),
    rentExemption: (bytes) => svm.minimumBalanceForRentExemption(bytes),
  };
}

/** An execution that was refused before it began. */
export function fault(err: TransactionFault): Execution {
  return { err, logs: [], units: 0n, inner: [] };
}

function richAccount(wallet: Address): EncodedAccount {
  return {
    address: wallet,
    lamports: lamports(FAUCET_LAMPORTS),
    data: new Uint8Array(),
    programAddress: SYSTEM_PROGRAM,
    executable: false,
    space: 0n,
  };
}

function describe(result: TransactionMetadata | FailedTransactionMetadata): Execution {
  const failed = result instanceof FailedTransactionMetadata;
  const meta = failed ? result.meta() : result;
  const inner = meta.innerInstructions().map((list) =>
    list.map((each) => {
      const instruction = each.instruction();
      return {
        programIdIndex: instruction.programIdIndex(),
        accounts: [...instruction.accounts()],
        data: instruction.data(),
        stackHeight: each.stackHeight(),
      };
    }),
  );
  return {
    err: failed ? toFault(result) : null,
    logs: meta.logs(),
    units: meta.computeUnitsConsumed(),
    inner,
  };
}

type ReadAccount = (of: Address) => EncodedAccount | undefined;

function resolveAccounts(
  parsed: ParsedTransaction,
  account: ReadAccount,
): Pick<Settled, "accounts" | "loaded"> {
  const { message } = parsed;
  const lookups = message.version === 0 ? (message.addressTableLookups ?? []) : [];
  const pick = (table: Address, indexes: readonly number[]): Address[] => {
    const data = account(table)?.data ?? new Uint8Array();
    return indexes.flatMap((index) => {
      const start = LOOKUP_TABLE_HEADER_BYTES + index * ADDRESS_BYTES;
      return start + ADDRESS_BYTES <= data.length ? [addresses.decode(data, start)] : [];
    });
  };
  const writable = lookups.flatMap((each) => pick(each.lookupTableAddress, each.writableIndexes));
  const readonly = lookups.flatMap((each) => pick(each.lookupTableAddress, each.readonlyIndexes));
  return { accounts: [...message.staticAccounts, ...writable, ...readonly], loaded: { writable, readonly } };
}

interface Reading {
  readonly lamports: bigint;
  readonly token: Omit<TokenBalance, "accountIndex"> | undefined;
}

/** What the transaction's accounts hold. After it only those it may write are read again. */
function readBalances(svm: LiteSVM, parsed: ParsedTransaction, accounts: readonly Address[]) {
  const programs = new Set(parsed.message.instructions.map(({ programAddressIndex }) => programAddressIndex));
  const readOne = (of: Address, index: number): Reading => {
    // Programs hold no tokens, and reading one copies its whole code.
    if (programs.has(index)) return { lamports: svm.getBalance(of) ?? 0n, token: undefined };
    const found = svm.getAccount(of);
    if (!found.exists) return { lamports: 0n, token: undefined };
    const token = readTokenAccount(found);
    if (token === undefined) return { lamports: found.lamports, token };
    const { mint, owner, program, amount } = token;
    return {
      lamports: found.lamports,
      token: { mint, owner, program, amount, decimals: decimalsOf(svm, mint) },
    };
  };
  const first = accounts.map(readOne);
  return {
    before: toBalances(first),
    after: () =>
      toBalances(
        first.map((reading, index) => {
          const of = accounts[index];
          return of !== undefined && isWritable(parsed.message, index) ? readOne(of, index) : reading;
        }),
      ),
  };
}

function toBalances(readings: readonly Reading[]): Balances {
  return {
    lamports: readings.map(({ lamports: each }) => each),
    tokens: readings.flatMap(({ token }, accountIndex) => (token ? [{ accountIndex, ...token }] : [])),
  };
}

function decimalsOf(svm: LiteSVM, mint: Address): number {
  if (mint === USDC_MINT) return USDC_DECIMALS;
  const found = svm.getAccount(mint);
  return (found.exists ? readMint(found)?.decimals : undefined) ?? 0;
}
