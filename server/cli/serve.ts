import type { Command } from "./command.ts";
import { USAGE_ERROR } from "./output.ts";
import { loadToServe } from "./store.ts";

/** What `main.ts` does too. */
export const serveCommand: Command = {
  usage: "serve [--config FILE] [--accept-data-loss] [--accept-void-keys]",
  summary: "Start the gateway.",
  details: [
    "--accept-data-loss starts it on a Redis that may forget money. Never with real money.",
    "--accept-void-keys starts it with another FAREBOX_KEY_PEPPER, which voids every key there is.",
  ],
  arity: [0, 0],
  flags: [],
  switches: ["accept-data-loss", "accept-void-keys"],
  async run(invocation) {
    if (invocation.switches.has("accept-data-loss")) process.env["LEDGER_ACCEPT_DATA_LOSS"] = "true";
    if (invocation.switches.has("accept-void-keys")) process.env["FAREBOX_ACCEPT_VOID_KEYS"] = "true";
    const config = loadToServe(invocation);
    if (config === undefined) return USAGE_ERROR;
    const { serve } = await import("../serve.ts");
    await serve(config);
    return 0;
  },
};
