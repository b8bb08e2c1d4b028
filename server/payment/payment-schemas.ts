import { z } from "zod";

/**
 * The schemas of a payment's payload, as those of @x402/core: a test holds the two against each other. Not those themselves: each
 * `transform` and `refine` of their zod (v3) makes an object with a getter of its own, by which V8 keeps what was parsed in memory
 * until the next full garbage collection (docs/scaling.md).
 */
const text = z.string().min(1);
const anything = z.record(z.string(), z.unknown());

const printable = text.max(32).regex(/^[\x20-\x7e]+$/);

const resource = z.object({
  url: text,
  description: z.string().nullish(),
  mimeType: z.string().nullish(),
  serviceName: printable.nullish(),
  tags: z.array(printable).max(5).nullish(),
  iconUrl: z.string().max(2_048).nullish(),
});

const accepted = z.object({
  scheme: text,
  /** CAIP-2, of which only the colon is looked for here. */
  network: z.string().min(3).includes(":"),
  amount: text,
  asset: text,
  payTo: text,
  maxTimeoutSeconds: z.number().positive(),
  extra: anything.nullish(),
});

/** x402 v2 §5.2. */
export const paymentPayloadV2 = z.object({
  x402Version: z.literal(2),
  resource: resource.nullish(),
  accepted,
  payload: anything,
  extensions: anything.nullish(),
});

/** x402 v1. */
export const paymentPayloadV1 = z.object({
  x402Version: z.literal(1),
  scheme: text,
  network: text,
  payload: anything,
});

export type PaymentResource = z.infer<typeof resource>;
