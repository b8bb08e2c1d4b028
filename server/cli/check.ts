import { existsSync } from "node:fs";
import type { Config } from "../config.ts";
import { formatUsd } from "../money.ts";
import type { Command, Invocation } from "./command.ts";
import { print, printJson, table, USAGE_ERROR } from "./output.ts";
import { ledgerPath, load, withActions } from "./store.ts";

/** Says what is wrong with the configuration or what it sells, and whether the ledger adds up. */
export const check: Command = {
  usage: "check [--config [FILE]] [--json]",
  summary: "Read the configuration, say what is wrong with it or what it sells, and check the ledger's sums.",
  details: [
    "With --config the ledger is not looked at and nothing is started: a dry run of the file.",
    "Without it, and with a ledger in the data directory, every balance, hold and key's usage is computed",
    "anew from the journal; what differs is printed, and the exit code is 1.",
  ],
  arity: [0, 0],
  flags: [],
  async run(invocation) {
    const config = load(invocation);
    if (config === undefined) return USAGE_ERROR;
    if (!invocation.configNamed && existsSync(ledgerPath(config))) return checkLedger(config, invocation);
    return invocation.json ? printJson({ ok: true, ...summary(config) }) : print(describe(config));
  },
};

function checkLedger(config: Config, invocation: Invocation): Promise<number> {
  return withActions("check", invocation, async (actions) => {
    const { ok, discrepancies } = await actions.check();
    if (invocation.json) printJson({ ok, ...summary(config), discrepancies });
    else {
      const found = table(discrepancies, ["account", "key_id", "problem", "recorded_usd", "computed_usd"]);
      print(`${describe(config)}\n\nledger       ${ok ? "adds up" : `does not add up\n\n${found}`}`);
    }
    return ok ? 0 : 1;
  });
}

/** What a configuration sells. Holds no secret: an RPC URL may contain a key, so it is not in it. */
function summary(config: Config) {
  return {
    network: config.network,
    publicUrl: config.publicUrl,
    payTo: config.payTo ?? null,
    facilitators: config.facilitators.map(({ url }) => url),
    models: config.models.map(({ name }) => name),
    routes: config.routes.map(({ method, path, price, tiers, settle }) => ({
      method,
      path,
      price: formatUsd(price),
      tiers,
      settle,
    })),
  };
}

function describe(config: Config): string {
  const { routes, models, ...rest } = summary(config);
  const width = Math.max(...routes.map(({ method, path }) => method.length + path.length + 1));
  return [
    `network      ${rest.network}${config.network === "local" ? " (no real money moves)" : ""}`,
    `public URL   ${rest.publicUrl}`,
    `paid to      ${rest.payTo ?? "a wallet made in the data directory"}`,
    `facilitator  ${rest.facilitators.join(", ") || "the embedded one"}`,
    `models       ${models.join(", ") || "none"}`,
    "",
    ...routes.map(
      (route) =>
        `${`${route.method} ${route.path}`.padEnd(width)}  $${route.price}  ${route.tiers.join(", ")}`,
    ),
  ].join("\n");
}
