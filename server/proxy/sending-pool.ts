import { type Dispatcher, Pool } from "../../facilitator-client/http-pool.ts";

/** Request options of which `onSending` is told when the request is written to a connection, not while it waits for one. */
export type SendingOptions = Dispatcher.RequestOptions & { readonly onSending: () => void };

/** A pool that says when a request leaves: one that was given up before has cost nobody anything. */
export class SendingPool extends Pool {
  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const onSending = "onSending" in options ? options.onSending : undefined;
    if (typeof onSending !== "function") return super.dispatch(options, handler);
    const onConnect = handler.onConnect?.bind(handler);
    if (onConnect === undefined) onSending();
    else {
      handler.onConnect = (abort) => {
        onSending();
        onConnect(abort);
      };
    }
    return super.dispatch(options, handler);
  }
}
