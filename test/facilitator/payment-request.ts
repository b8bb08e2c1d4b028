import type { FacilitatorRequest } from "../../facilitator-client/types.ts";

/** A v2 request as the paywall sends it; the stub does not look into it. */
export function paymentRequest(): FacilitatorRequest {
  const requirements = {
    scheme: "exact",
    network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    amount: "20000",
    asset: "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    payTo: "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4",
    maxTimeoutSeconds: 60,
    extra: { feePayer: "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd" },
  } as const;
  return {
    x402Version: 2,
    paymentPayload: {
      x402Version: 2,
      accepted: requirements,
      payload: { transaction: "AQID" },
    },
    paymentRequirements: requirements,
  };
}
