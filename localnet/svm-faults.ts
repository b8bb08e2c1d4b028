import type { FailedTransactionMetadata } from "litesvm";

/** A transaction's error as JSON-RPC tells it: `"AlreadyProcessed"`, `{"InstructionError":[2,{"Custom":1}]}`. */
export type TransactionFault = string | Readonly<Record<string, unknown>>;

/** In the order LiteSVM numbers them; its own const enum does not exist at run time. */
const TRANSACTION_FAULTS = words(`
  AccountInUse AccountLoadedTwice AccountNotFound ProgramAccountNotFound InsufficientFundsForFee InvalidAccountForFee
  AlreadyProcessed BlockhashNotFound CallChainTooDeep MissingSignatureForFee InvalidAccountIndex SignatureFailure
  InvalidProgramForExecution SanitizeFailure ClusterMaintenance AccountBorrowOutstanding WouldExceedMaxBlockCostLimit
  UnsupportedVersion InvalidWritableAccount WouldExceedMaxAccountCostLimit WouldExceedAccountDataBlockLimit
  TooManyAccountLocks AddressLookupTableNotFound InvalidAddressLookupTableOwner InvalidAddressLookupTableData
  InvalidAddressLookupTableIndex InvalidRentPayingAccount WouldExceedMaxVoteCostLimit WouldExceedAccountDataTotalLimit
  MaxLoadedAccountsDataSizeExceeded ResanitizationNeeded InvalidLoadedAccountsDataSizeLimit UnbalancedTransaction
  ProgramCacheHitMaxLimit CommitCancelled`);

const INSTRUCTION_FAULTS = words(`
  GenericError InvalidArgument InvalidInstructionData InvalidAccountData AccountDataTooSmall InsufficientFunds
  IncorrectProgramId MissingRequiredSignature AccountAlreadyInitialized UninitializedAccount UnbalancedInstruction
  ModifiedProgramId ExternalAccountLamportSpend ExternalAccountDataModified ReadonlyLamportChange ReadonlyDataModified
  DuplicateAccountIndex ExecutableModified RentEpochModified NotEnoughAccountKeys AccountDataSizeChanged
  AccountNotExecutable AccountBorrowFailed AccountBorrowOutstanding DuplicateAccountOutOfSync InvalidError
  ExecutableDataModified ExecutableLamportChange ExecutableAccountNotRentExempt UnsupportedProgramId CallDepth
  MissingAccount ReentrancyNotAllowed MaxSeedLengthExceeded InvalidSeeds InvalidRealloc ComputationalBudgetExceeded
  PrivilegeEscalation ProgramEnvironmentSetupFailure ProgramFailedToComplete ProgramFailedToCompile Immutable
  IncorrectAuthority AccountNotRentExempt InvalidAccountOwner ArithmeticOverflow UnsupportedSysvar IllegalOwner
  MaxAccountsDataAllocationsExceeded MaxAccountsExceeded MaxInstructionTraceLengthExceeded
  BuiltinProgramsMustConsumeComputeUnits BorshIoError`);

/** Translates LiteSVM's error into the words of JSON-RPC. */
export function toFault(failed: FailedTransactionMetadata): TransactionFault {
  const error = failed.err();
  if (typeof error === "number") return TRANSACTION_FAULTS[error] ?? "ClusterMaintenance";
  if ("err" in error) return { InstructionError: [error.index, instructionFault(error.err())] };
  if ("index" in error) return { DuplicateInstruction: error.index };
  // The two that are left have one shape; only the class, which LiteSVM does not export, tells them apart.
  const name = error.constructor.name.replace(/^TransactionError/, "");
  return { [name]: { account_index: error.accountIndex } };
}

type InstructionError = Exclude<
  Extract<ReturnType<FailedTransactionMetadata["err"]>, { err(): unknown }>,
  number
>;

function instructionFault(error: ReturnType<InstructionError["err"]>): unknown {
  if (typeof error === "number") return INSTRUCTION_FAULTS[error] ?? "GenericError";
  return "code" in error ? { Custom: error.code } : "BorshIoError";
}

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}
