import type { OfferedModel } from "./model-catalog.ts";
import type { ProxyCall } from "./proxy-call.ts";
import type { JsonObject } from "./request-json.ts";
import type { ModelEndpoint } from "./upstream.ts";
import { answerRefusal } from "./upstream-refusal.ts";
import type { UpstreamAnswer } from "./upstream-request.ts";

/**
 * Sends a call to its model and has its answer read; a refusal is passed on to the caller. What `read` leaves of the answer, also
 * when it throws, is given up.
 */
export async function askModel(
  call: ProxyCall,
  { backend }: OfferedModel,
  endpoint: ModelEndpoint,
  request: JsonObject,
  read: (answer: UpstreamAnswer) => Promise<void>,
): Promise<void> {
  const { signal, meter, upstreamKey } = call;
  const answer = await backend.generate(endpoint, request, {
    signal,
    apiKey: upstreamKey,
    onSending: () => signal.aborted || meter.begun(),
  });
  meter.answered(answer.status);
  try {
    if (answer.status === 200) await read(answer);
    else await answerRefusal(call, answer, backend);
  } finally {
    answer.discard();
  }
}
