import type { Router } from "express";
import type { Config } from "../config.ts";
import type { Logger } from "../log.ts";
import { createConsole } from "./console.ts";
import { type ConsoleSettings, consoleConfig } from "./console-config.ts";
import { builtConsole } from "./console-files.ts";

/** The console as this configuration allows it; undefined: it is off, or nobody could sign in. */
export function openConsole(
  config: ConsoleSettings & Pick<Config, "console" | "sessionKeys">,
  log: Pick<Logger, "error">,
  directory: string = builtConsole(),
): Router | undefined {
  if (!config.console || config.sessionKeys.length === 0) return undefined;
  return createConsole({
    directory,
    config: consoleConfig(config),
    faucet: undefined,
    onFault: (error) => log.error({ err: error }, "console request failed"),
  });
}
