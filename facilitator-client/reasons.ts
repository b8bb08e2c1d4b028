/**
 * What a `success: false` of `/settle` means for the money, by its `errorReason`.
 * `refused`: the facilitator says it only before it broadcasts, so this transfer was not sent by it.
 * `unknown`: the transfer may have landed or may still land.
 */
export type SettleReasonMeaning = "refused" | "unknown";

/** Prefix of the reasons of the exact scheme on Solana. */
const EXACT = "invalid_exact_svm";
const PAYLOAD = `${EXACT}_payload`;
const TRANSACTION = `${PAYLOAD}_transaction`;
const SMART_WALLET = `${EXACT}_smart_wallet`;

/** `@x402/svm` exact (protocol v2) and what both versions share: the checks that `settle` runs before it signs. */
const OFFICIAL_REFUSED = [
  `${EXACT}_unsupported_scheme`,
  `${EXACT}_network_mismatch`,
  `${EXACT}_fee_payer_not_managed_by_facilitator`,
  `${EXACT}_fee_payer_mismatch`,
  `${EXACT}_verification_failed`,
  // The simulation of `settle` runs before its own signature. A copy sent by somebody else is what the watch is for.
  `${EXACT}_transaction_simulation_failed`,
  `${PAYLOAD}_missing_fee_payer`,
  `${PAYLOAD}_signature_invalid`,
  `${PAYLOAD}_excessive_signers`,
  `${PAYLOAD}_unknown_fourth_instruction`,
  `${PAYLOAD}_unknown_fifth_instruction`,
  `${PAYLOAD}_unknown_sixth_instruction`,
  `${PAYLOAD}_unknown_seventh_instruction`,
  `${PAYLOAD}_unknown_optional_instruction`,
  `${PAYLOAD}_no_transfer_instruction`,
  `${PAYLOAD}_mint_mismatch`,
  `${PAYLOAD}_recipient_mismatch`,
  `${PAYLOAD}_amount_mismatch`,
  `${PAYLOAD}_memo_mismatch`,
  `${PAYLOAD}_memo_count`,
  TRANSACTION,
  `${TRANSACTION}_could_not_be_decoded`,
  `${TRANSACTION}_fee_payer_transferring_funds`,
  `${TRANSACTION}_instructions_length`,
  `${TRANSACTION}_instructions_compute_limit_instruction`,
  `${TRANSACTION}_instructions_compute_limit_instruction_too_high`,
  `${TRANSACTION}_instructions_compute_price_instruction`,
  `${TRANSACTION}_instructions_compute_price_instruction_too_high`,
  `${SMART_WALLET}_fee_payer_not_isolated`,
  `${SMART_WALLET}_malformed_compute_budget`,
  `${SMART_WALLET}_malformed_compute_limit`,
  `${SMART_WALLET}_malformed_compute_price`,
  `${SMART_WALLET}_compute_units_too_high`,
  `${SMART_WALLET}_priority_fee_too_high`,
  `${SMART_WALLET}_unsupported_compute_budget_instruction`,
  `${SMART_WALLET}_alt_resolution_not_available`,
  `${SMART_WALLET}_alt_resolution_failed`,
  `${SMART_WALLET}_compute_budget_violation`,
  `${SMART_WALLET}_simulation_failed`,
  `${SMART_WALLET}_cannot_derive_destination_ata`,
  `${SMART_WALLET}_no_transfer_in_simulation`,
  `${SMART_WALLET}_transfer_mismatch`,
  `${SMART_WALLET}_multiple_matching_transfers`,
  `${SMART_WALLET}_program_not_allowed`,
];

/** `@x402/svm` exact, protocol v1: its own words for the same checks. */
const OFFICIAL_V1_REFUSED = [
  "unsupported_scheme",
  "network_mismatch",
  "fee_payer_not_managed_by_facilitator",
  "transaction_simulation_failed",
  "verification_failed",
];

/**
 * Reasons of the x402 specification and of hosted facilitators (Coinbase's API lists them) that name a check of the
 * payload. A hosted facilitator cannot be read as the official one can; a refused record is watched for that reason.
 */
const HOSTED_REFUSED = [
  "insufficient_funds",
  "invalid_network",
  "invalid_payload",
  "invalid_payment_requirements",
  "invalid_scheme",
  "invalid_x402_version",
  `${TRANSACTION}_amount_mismatch`,
  `${TRANSACTION}_cannot_derive_receiver_ata`,
  `${TRANSACTION}_create_ata_instruction`,
  `${TRANSACTION}_create_ata_instruction_incorrect_asset`,
  `${TRANSACTION}_create_ata_instruction_incorrect_payee`,
  `${TRANSACTION}_fee_payer_included_in_instruction_accounts`,
  `${TRANSACTION}_instruction_not_spl_token_transfer_checked`,
  `${TRANSACTION}_instruction_not_token_2022_transfer_checked`,
  `${TRANSACTION}_instructions`,
  `${TRANSACTION}_not_a_transfer_instruction`,
  `${TRANSACTION}_receiver_ata_not_found`,
  `${TRANSACTION}_sender_ata_not_found`,
  `${TRANSACTION}_simulation_failed`,
  `${TRANSACTION}_transfer_to_incorrect_ata`,
];

/** Everything that is said while or after broadcasting, or that may be. */
const UNKNOWN = [
  // Official: the sending threw (it may have been accepted), or the confirmation failed.
  `${EXACT}_transaction_failed`,
  "transaction_failed",
  // Official: another `settle` of the same message is under way or has been, with an outcome we do not know.
  "duplicate_settlement",
  "settlement_pending",
  "post_settlement_transfer_not_confirmed",
  // Specification and hosted facilitators.
  "invalid_transaction_state",
  "payment_expired",
  "settle_exact_failed_onchain",
  "settle_exact_node_failure",
  "settle_exact_svm_block_height_exceeded",
  "settle_exact_svm_transaction_confirmation_timed_out",
  "unexpected_settle_error",
  "unexpected_verify_error",
  "unknown_error",
];

/** Every reason we know, and what it means after `/settle`. */
export const SETTLE_REASONS: ReadonlyMap<string, SettleReasonMeaning> = new Map([
  ...[...OFFICIAL_REFUSED, ...OFFICIAL_V1_REFUSED, ...HOSTED_REFUSED].map(
    (reason) => [reason, "refused"] as const,
  ),
  ...UNKNOWN.map((reason) => [reason, "unknown"] as const),
]);

/**
 * What a settle reason means; anything not listed is `unknown`. A detail after a colon ("reason: 5 exceeds max 3") is
 * not part of the reason.
 */
export function settleReasonMeaning(reason: string): SettleReasonMeaning {
  const colon = reason.indexOf(":");
  const word = colon === -1 ? reason : reason.slice(0, colon);
  return SETTLE_REASONS.get(word) ?? "unknown";
}
