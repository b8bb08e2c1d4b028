import type { RequestHandler, Router } from "express";
import type { Config } from "../config.ts";
import type { Logger } from "../log.ts";
import type { PublicToken } from "../top-up-tokens.ts";
import { createConsole } from "./console.ts";
import { type ConsoleSettings, consoleConfig } from "./console-config.ts";
import { builtConsole } from "./console-files.ts";
import { createLocalFaucet } from "./local-faucet.ts";

/** The console as this configuration allows it; undefined: it is off, or nobody could sign in. */
export function openConsole(
  config: ConsoleSettings & Pick<Config, "console" | "sessionKeys" | "facilitators">,
  log: Pick<Logger, "error">,
  tokens: () => readonly PublicToken[],
  directory: string = builtConsole(),
): Router | undefined {
  if (!config.console || config.sessionKeys.length === 0) return undefined;
  const facts = consoleConfig(config);
  return createConsole({
    directory,
    config: () => ({ ...facts, tokens: tokens() }),
    faucet: faucetOf(config),
    onFault: (error) => log.error({ err: error }, "console request failed"),
  });
}

/** Beside local mode's facilitator. No network with real money has one. */
function faucetOf({
  network,
  facilitators,
  publicUrl,
}: Pick<Config, "network" | "facilitators" | "publicUrl">): readonly RequestHandler[] | undefined {
  const [local] = facilitators;
  return network === "local" && local !== undefined
    ? createLocalFaucet({ url: local.url, publicUrl })
    : undefined;
}
