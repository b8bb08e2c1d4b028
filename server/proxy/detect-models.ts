import { z } from "zod";
import { Client } from "../../facilitator-client/http-pool.ts";

const MAX_BODY_BYTES = 1_048_576;
const listSchema = z.object({ data: z.array(z.object({ id: z.string().min(1) })) });

/**
 * The model names that an OpenAI-compatible server lists at `<baseUrl>/models`; undefined if it does not say within
 * `timeoutMs`. `baseUrl` is the SDK's: with its `/v1`.
 */
export async function detectModels(
  baseUrl: string,
  apiKey: string | undefined,
  timeoutMs: number,
): Promise<readonly string[] | undefined> {
  const url = new URL(baseUrl);
  const client = new Client(url.origin, { maxResponseSize: MAX_BODY_BYTES });
  try {
    const answer = await client.request({
      method: "GET",
      path: `${url.pathname.replace(/\/$/, "") || "/v1"}/models`,
      headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      signal: AbortSignal.timeout(timeoutMs),
    });
    return listSchema.parse(await answer.body.json()).data.map(({ id }) => id);
  } catch {
    // Whatever it is, it does not list its models: the names stay as they are.
    return undefined;
  } finally {
    await client.destroy();
  }
}
