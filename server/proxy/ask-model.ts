import type { OfferedModel } from "./model-catalog.ts";
import type { ProxyCall } from "./proxy-call.ts";
import type { JsonObject } from "./request-json.ts";
import type { ModelEndpoint } from "./upstream.ts";
import { answerRefusal } from "./upstream-refusal.ts";
import type { UpstreamAnswer } from "./upstream-request.ts";

/** Sends a call to its model. Undefined: the model refused it, and the caller has been answered. */
export async function askModel(
  call: ProxyCall,
  { backend }: OfferedModel,
  endpoint: ModelEndpoint,
  request: JsonObject,
): Promise<UpstreamAnswer | undefined> {
  const { signal, meter, upstreamKey } = call;
  const answer = await backend.generate(endpoint, request, {
    signal,
    apiKey: upstreamKey,
    onSending: () => signal.aborted || meter.begun(),
  });
  if (answer.status === 200) return answer;
  await answerRefusal(call, answer, backend);
  return undefined;
}
