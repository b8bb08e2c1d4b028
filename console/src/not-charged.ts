/** Why a call cost nothing, for people. The gateway's own words are in its records (server/payment/gate.ts, x402-charge.ts). */
const WORDS: Readonly<Record<string, string>> = {
  answer_not_sent: "the answer could not be sent",
  broken_mid_stream: "the answer broke off on our side",
  client_left: "the caller left before the answer",
  handler_failed: "the service or the model failed",
  ledger_unavailable: "our books were away; the payment is credited",
  not_billed: "this tier is not billed",
  provider_key_unusable: "your provider key could not be used",
  shutting_down: "we were restarting",
  stream_without_event: "the model sent nothing",
  time_limit: "it took too long",
};

/** In words also where the reason is a newer gateway's. */
export function wordsOfNotCharged(reason: string): string {
  return WORDS[reason] ?? reason.replaceAll("_", " ");
}
