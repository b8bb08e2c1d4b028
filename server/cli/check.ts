import { modelPriceText } from "../../well-known/model-prices.ts";
import type { Config } from "../config.ts";
import { hasLedger } from "../ledger/open-ledger.ts";
import { formatUsd } from "../money.ts";
import { modelPricesAt } from "../quoted-routes.ts";
import type { Route } from "../routes.ts";
import type { Command, Invocation } from "./command.ts";
import { misused, print, printJson, table, USAGE_ERROR } from "./output.ts";
import { loadToServe, withActions } from "./store.ts";

/** Says what is wrong with the configuration or what it sells, and whether the ledger adds up. */
export const check: Command = {
  usage: "check [--config [FILE]] [--json], or check --chain [--since WHEN] [--credit]",
  summary: "Read the configuration, say what is wrong with it or what it sells, and check the ledger's sums.",
  details: [
    "With --config the ledger is not looked at and nothing is started: a dry run of the file.",
    "Without it, and with a ledger (in the data directory, or where LEDGER_URL says), every balance, hold and key's usage is computed",
    "anew from the journal; what differs is printed, and the exit code is 1.",
    "",
    "--chain compares every payment with the chain instead, and every transfer to payTo that carries a memo of ours with",
    "the payments. It changes nothing, unless --credit is given: then a transfer without a served call is credited to",
    "the account wallet:PAYER, once. --since limits both to what is newer: a date, a time or a span such as 30d.",
    "Exit codes: 0 nothing is wrong, or all of it was credited; 1 something differs; 2 it could not be checked.",
  ],
  arity: [0, 0],
  flags: ["since"],
  switches: ["chain", "credit"],
  async run(invocation) {
    const { switches, flags } = invocation;
    if (switches.has("chain")) {
      // Every command loads this file; none of the others waits for the chain's library.
      const { checkWithChain } = await import("./check-chain.ts");
      return checkWithChain(invocation);
    }
    if (switches.has("credit") || flags["since"] !== undefined) {
      const { usage } = check;
      return misused(
        "farebox check",
        "--credit and --since go with --chain",
        `Usage: farebox ${usage}`,
        invocation.json,
      );
    }
    const config = loadToServe(invocation);
    if (config === undefined) return USAGE_ERROR;
    if (!invocation.configNamed && hasLedger(config)) return checkLedger(config, invocation);
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
    routes: config.routes.map((route) => {
      const { method, path, tiers, settle } = route;
      return { method, path, ...priceAt(route, config), tiers, settle };
    }),
  };
}

/** `price` is null where the model decides it. */
function priceAt(route: Route, { models }: Config) {
  const modelPrices = modelPricesAt(route, models);
  return { price: modelPrices === undefined ? formatUsd(route.price) : null, modelPrices };
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
    ...routes.flatMap(({ method, path, price, modelPrices = [], tiers }) => [
      `${`${method} ${path}`.padEnd(width)}  ${price === null ? "by the model" : `$${price}`}  ${tiers.join(", ")}`,
      ...modelPrices.map((each) => `  ${modelPriceText(each)}`),
    ]),
  ].join("\n");
}
