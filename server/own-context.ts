import { AsyncResource } from "node:async_hooks";

/**
 * The same work, to be run later from wherever: in the asynchronous context of now (`AsyncLocalStorage`: a request's user, its
 * trace), and not in that of whoever comes to run it. For what is queued; what awaits a promise keeps its context by itself.
 * Not `AsyncResource.bind`, which takes 100 times as long.
 */
export function inOwnContext<Result>(work: () => Result): () => Result {
  const resource = new AsyncResource("farebox");
  return () => resource.runInAsyncScope(work);
}
