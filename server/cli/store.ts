import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Actions } from "../admin/actions.ts";
import { openActions } from "../admin/open-actions.ts";
import type { Config } from "../config.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { openSqliteLedger } from "../ledger/sqlite.ts";
import { loadConfig } from "../load-config.ts";
import type { Invocation } from "./command.ts";
import { fail, printJson, refuse, USAGE_ERROR } from "./output.ts";

/** The configuration, or undefined after its problems were printed. */
export function load({ configPath, json }: Pick<Invocation, "configPath" | "json">): Config | undefined {
  const result = loadConfig({ env: process.env, cwd: process.cwd(), configPath });
  if ("config" in result) return result.config;
  if (json) printJson({ ok: false, problems: result.problems });
  else for (const { path, message } of result.problems) fail(`${path}: ${message}`);
  return undefined;
}

/** Where the embedded ledger is. */
export function ledgerPath(config: Config): string {
  return join(config.dataDir, "ledger.sqlite");
}

/** Opens the store of this configuration. */
export function openLedger(config: Config): Promise<Ledger> {
  return openSqliteLedger({
    path: ledgerPath(config),
    network: config.network === "local" ? "local" : config.caip2,
    // The call that meets the fault rejects, and the command ends with it.
    onFatal: () => undefined,
  });
}

/**
 * Runs one of the operator's commands on the store of this configuration, also while a gateway has it open: SQLite takes
 * turns between processes, and each action is one atomic step. Resolves to the exit code.
 */
export async function withActions(
  name: string,
  invocation: Pick<Invocation, "configPath" | "json">,
  run: (actions: Actions, config: Config) => Promise<number>,
): Promise<number> {
  const config = load(invocation);
  if (config === undefined) return USAGE_ERROR;
  mkdirSync(config.dataDir, { recursive: true });
  const ledger = await openLedger(config);
  try {
    return await run(openActions(config, ledger), config);
  } catch (error) {
    return refuse(name, error, invocation.json);
  } finally {
    await ledger.close();
  }
}
