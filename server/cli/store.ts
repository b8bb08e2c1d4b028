import type { Actions } from "../admin/actions.ts";
import { openActions } from "../admin/open-actions.ts";
import { jwksFileProblem } from "../auth/jwks-file.ts";
import type { Config } from "../config.ts";
import type { Problem } from "../config-problems.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { openLedger } from "../ledger/open-ledger.ts";
import { loadConfig } from "../load-config.ts";
import { orLocalKey } from "../local-secrets.ts";
import type { Invocation } from "./command.ts";
import { fail, printJson, refuse, USAGE_ERROR } from "./output.ts";

type Named = Pick<Invocation, "configPath" | "json">;

/** The configuration, or undefined after its problems were printed. */
export function load({ configPath, json }: Named): Config | undefined {
  const result = loadConfig({ env: process.env, cwd: process.cwd(), configPath });
  return "config" in result ? result.config : refuseProblems(result.problems, json);
}

/** As {@link load}, and also looks at the files that a gateway needs when it starts. */
export function loadToServe(named: Named): Config | undefined {
  const config = load(named);
  const path = config?.jwt?.jwksFile;
  const message = path === undefined ? undefined : jwksFileProblem(path);
  return message === undefined ? config : refuseProblems([{ path: "jwt.jwksFile", message }], named.json);
}

function refuseProblems(problems: readonly Problem[], json: boolean): undefined {
  if (json) printJson({ ok: false, problems });
  else for (const { path, message } of problems) fail(`${path}: ${message}`);
}

/** Opens the store of this configuration, for one command. */
export function openStore(config: Config): Promise<Ledger> {
  // The call that meets a fault rejects, and the command ends with it.
  const ignore = () => undefined;
  return openLedger(config, { onFatal: ignore, onConnectionError: ignore });
}

/**
 * Runs one of the operator's commands on the store of this configuration, also while gateways have it open: each action is one
 * atomic step, and SQLite takes turns between processes. Resolves to the exit code.
 */
export async function withActions(
  name: string,
  invocation: Pick<Invocation, "configPath" | "json">,
  run: (actions: Actions, config: Config) => Promise<number>,
): Promise<number> {
  const config = load(invocation);
  if (config === undefined) return USAGE_ERROR;
  const ledger = await openStore(config);
  try {
    return await run(openActions({ ...config, ownKeys: ownKeysOf(config) }, ledger), config);
  } catch (error) {
    return refuse(name, error, invocation.json);
  } finally {
    await ledger.close();
  }
}

/** In local mode the gateway makes a master key of its own; what is sealed here it must be able to open. */
function ownKeysOf({ network, ownKeys, dataDir }: Config): Config["ownKeys"] {
  if (network !== "local") return ownKeys;
  return { ...ownKeys, masterKeys: orLocalKey(ownKeys.masterKeys, dataDir, "master-key") };
}
