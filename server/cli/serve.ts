import type { Command } from "./command.ts";
import { USAGE_ERROR } from "./output.ts";
import { loadToServe } from "./store.ts";

/** What `main.ts` does too. */
export const serveCommand: Command = {
  usage: "serve [--config FILE] [--accept-data-loss]",
  summary: "Start the gateway.",
  details: ["--accept-data-loss starts it on a Redis that may forget money. Never with real money."],
  arity: [0, 0],
  flags: [],
  switches: ["accept-data-loss"],
  async run(invocation) {
    if (invocation.switches.has("accept-data-loss")) process.env["LEDGER_ACCEPT_DATA_LOSS"] = "true";
    const config = loadToServe(invocation);
    if (config === undefined) return USAGE_ERROR;
    const { serve } = await import("../serve.ts");
    await serve(config);
    return 0;
  },
};
