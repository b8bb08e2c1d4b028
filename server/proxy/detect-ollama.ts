import { z } from "zod";
import { Client } from "../../facilitator-client/http-pool.ts";

/** Where Ollama listens unless told otherwise. */
export const OLLAMA_URL = "http://127.0.0.1:11434";

const MAX_BODY_BYTES = 1_048_576;

const tagsSchema = z.object({
  models: z.array(
    z.object({
      name: z.string().min(1),
      details: z.object({ family: z.string().default("") }).default({ family: "" }),
    }),
  ),
});

/**
 * The models of the Ollama at this URL, those that can chat first; undefined if none answers in time.
 * `timeoutMs` bounds the whole look-up.
 */
export async function detectOllama(
  url: string,
  timeoutMs: number,
): Promise<{ readonly models: readonly string[] } | undefined> {
  const client = new Client(url, { maxResponseSize: MAX_BODY_BYTES });
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const answer = await client.request({ path: "/api/tags", method: "GET", signal });
    const { models } = tagsSchema.parse(await answer.body.json());
    const isEmbedder = (family: string): boolean => family.includes("bert");
    const chatting = models.filter(({ details }) => !isEmbedder(details.family));
    const embedding = models.filter(({ details }) => isEmbedder(details.family));
    return { models: [...chatting, ...embedding].map(({ name }) => name) };
  } catch {
    // Whatever is wrong with it, it is not an Ollama we can use.
    return undefined;
  } finally {
    await client.destroy();
  }
}
