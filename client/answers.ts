import { z } from "zod";

/** What `POST /agent` answers, as far as it is relied on here. */
export const agentAnswerSchema = z.looseObject({ reply: z.string(), model: z.string() });
export type AgentAnswer = z.infer<typeof agentAnswerSchema>;

/** One event of a streamed `POST /agent`: a piece of the reply, or the last one with usage and billing. */
export const agentEventSchema = z.union([
  z.looseObject({ delta: z.string(), done: z.undefined().optional() }),
  z.looseObject({ done: z.literal(true), model: z.string(), delta: z.undefined().optional() }),
]);
export type AgentEvent = z.infer<typeof agentEventSchema>;

/** An OpenAI chat completion, as far as it is relied on here. */
export const chatAnswerSchema = z.looseObject({
  choices: z.array(z.looseObject({ message: z.looseObject({ content: z.string().nullish() }) })),
});
export type ChatAnswer = z.infer<typeof chatAnswerSchema>;

/** One chunk of a streamed chat completion. */
export const chatEventSchema = z.looseObject({
  choices: z.array(z.looseObject({ delta: z.looseObject({ content: z.string().nullish() }).optional() })),
});
export type ChatEvent = z.infer<typeof chatEventSchema>;

/** An error that came inside a stream. */
export const errorEventSchema = z.object({
  error: z.looseObject({ code: z.unknown(), reason: z.unknown(), message: z.unknown() }),
});

/** What `GET /v1/key` says of money. */
export const keyStatusSchema = z.object({
  balance_micro_usd: z.string().regex(/^-?\d+$/),
  limit_remaining_micro_usd: z
    .string()
    .regex(/^-?\d+$/)
    .nullable(),
});
