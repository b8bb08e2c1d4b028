import type { UsageFacts } from "./ledger/call-ledger.ts";
import type { Visit } from "./payment/visit.ts";

/** What is recorded of a call that a wallet paid for, or would have. */
export async function walletUsage(visit: Visit, notCharged: string | undefined): Promise<UsageFacts> {
  const { match, sale, charge, payer, res, started } = visit;
  const account = visit.account ?? (payer === undefined ? undefined : `wallet:${payer}`);
  const { route } = match;
  const reading = notCharged === undefined ? await sale?.read() : sale?.reported();
  return {
    tier: "x402",
    account,
    keyId: undefined,
    keyLabel: undefined,
    payer,
    route: `${route.method} ${route.path}`,
    model: sale?.model,
    provider: sale?.provider,
    promptTokens: reading?.promptTokens,
    completionTokens: reading?.completionTokens,
    estimated: reading?.estimated ?? false,
    held: 0n,
    upstreamCost: undefined,
    status: res.statusCode,
    upstreamStatus: reading?.upstreamStatus,
    ms: Math.round(performance.now() - started),
    transaction: charge?.receipt.transaction,
    notCharged,
  };
}
