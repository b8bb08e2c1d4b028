import type { Config } from "../config.ts";
import { GatewayError } from "../errors.ts";
import { PERMISSIONS } from "../ledger/account-ledger.ts";
import { defined } from "./account-commands.ts";
import type { Command, Invocation } from "./command.ts";
import { fields, note, print, printJson, table } from "./output.ts";
import { withActions } from "./store.ts";

const SETTINGS = [
  "label",
  "limit",
  "reset",
  "permissions",
  "models",
  "providers",
  "rpm",
  "concurrency",
  "expires",
];
const SETTINGS_USAGE =
  "[--label L] [--limit USD] [--reset R] [--permissions P,…] [--models M,…] [--providers U,…] [--rpm N] [--concurrency N] [--expires WHEN]";
const SETTINGS_HELP = [
  "--limit        dollars the key may spend; none: no limit",
  "--reset        when spending starts again at zero: never, daily, weekly, monthly",
  "--permissions  of chat:read, embeddings:read, models:list, agent:run; all: each of them",
  "--models       public model names; all: no restriction",
  "--providers    names of upstreams; all: no restriction",
  "--rpm          requests a minute; none: no limit",
  "--concurrency  calls at once; none: no limit",
  "--expires      a date, a time or a span from now (30d); never",
];
/** Keys: making, showing, changing and ending them. */
export const keyCommands: Readonly<Record<string, Command>> = {
  "keys create": {
    usage: `keys create --account A ${SETTINGS_USAGE} [--prefix P] [--idempotency-key KEY]`,
    summary: "Make a key. It is shown now and never again.",
    details: [
      ...SETTINGS_HELP,
      "--prefix       one of keys.prefixes; the first one unless given",
      "What is not given is not restricted.",
      "A repeat under the same idempotency key makes no second key and does not show the first one again.",
    ],
    arity: [0, 0],
    flags: [...SETTINGS, "account", "prefix", "idempotency-key"],
    run: (invocation) =>
      withActions("keys create", invocation, async (actions, config) => {
        const { account, prefix, "idempotency-key": repeatKey } = invocation.flags;
        if (account === undefined) {
          throw new GatewayError("invalid_request", { message: "--account is missing" });
        }
        const order = { ...defined({ account, prefix }), ...settingsOf(invocation) };
        const key = await actions.createKey(order, repeatKey);
        noteUnknown(config, invocation);
        return showSecret(key, invocation);
      }),
  },
  "keys list": {
    usage: "keys list [--account A]",
    summary: "Show keys, newest first.",
    arity: [0, 0],
    flags: ["account"],
    run: (invocation) =>
      withActions("keys list", invocation, async (actions) => {
        const answer = await actions.listKeys(invocation.flags["account"]);
        if (invocation.json) return printJson(answer);
        const columns = ["id", "account", "label", "prefix", "last4", "status", "usage_usd", "limit_usd"];
        return print(table(answer["keys"], [...columns, "last_used_at"]));
      }),
  },
  "keys show": {
    usage: "keys show ID",
    summary: "Show a key's settings and spending.",
    arity: [1, 1],
    flags: [],
    run: (invocation) =>
      withActions("keys show", invocation, async (actions) =>
        show(await actions.showKey(invocation.positionals[0] ?? ""), invocation),
      ),
  },
  "keys revoke": {
    usage: "keys revoke ID",
    summary: "End a key for ever, from its next request on.",
    arity: [1, 1],
    flags: [],
    run: (invocation) =>
      withActions("keys revoke", invocation, async (actions) =>
        show(await actions.revokeKey(invocation.positionals[0] ?? ""), invocation),
      ),
  },
  "keys rotate": {
    usage: "keys rotate ID [--grace now|1m|15m|1h|6h|24h] [--idempotency-key KEY]",
    summary: "Give a key a new secret, shown now and never again; balance, limit and history stay.",
    details: [
      "The old secret is good for the grace that is given, never beyond the key's expiry. Default: now.",
    ],
    arity: [1, 1],
    flags: ["grace", "idempotency-key"],
    run: (invocation) =>
      withActions("keys rotate", invocation, async (actions) => {
        const { grace, "idempotency-key": repeatKey } = invocation.flags;
        const id = invocation.positionals[0] ?? "";
        return showSecret(await actions.rotateKey(id, defined({ grace }), repeatKey), invocation);
      }),
  },
  "keys limit": {
    usage: `keys limit ID ${SETTINGS_USAGE}`,
    summary: "Change what a key may spend and do.",
    details: [...SETTINGS_HELP, "What is not given stays as it is."],
    arity: [1, 1],
    flags: SETTINGS,
    run: (invocation) =>
      withActions("keys limit", invocation, async (actions, config) => {
        const key = await actions.changeKey(invocation.positionals[0] ?? "", settingsOf(invocation));
        noteUnknown(config, invocation);
        return show(key, invocation);
      }),
  },
};

/** Flags as the fields that the admin API takes. */
function settingsOf({ flags }: Invocation): Record<string, unknown> {
  const { label, limit, reset, permissions, models, providers, rpm, concurrency, expires } = flags;
  return defined({
    label,
    limit: lifted(limit, "none"),
    limit_reset: reset,
    permissions: permissions === "all" ? PERMISSIONS : list(permissions),
    models: names("models", models),
    providers: names("providers", providers),
    rpm: lifted(rpm, "none"),
    concurrency: lifted(concurrency, "none"),
    expires_at: lifted(expires, "never"),
  });
}

/** Names that nothing has yet are taken, for a key may be made before its model; a slip would be found by whoever uses the key. */
function noteUnknown({ models, upstreams }: Config, invocation: Invocation): void {
  if (invocation.json) return;
  for (const [flag, there] of [
    ["models", models],
    ["providers", upstreams],
  ] as const) {
    const known = there.map(({ name }) => name);
    const unknown = (names(flag, invocation.flags[flag]) ?? []).filter((name) => !known.includes(name));
    if (unknown.length === 0) continue;
    note(
      `note: --${flag} names what is not configured: ${unknown.join(", ")}. There are: ${known.join(", ")}`,
    );
  }
}

/** Null where the word stands that takes this restriction away; no word does so for another one. */
function lifted(value: string | undefined, word: "none" | "all" | "never"): string | null | undefined {
  return value === word ? null : value;
}

/** Names of their own; the words that lift other restrictions are none, or a key would be bound to a model that nobody has. */
function names(flag: string, value: string | undefined): readonly string[] | null | undefined {
  if (value === "none" || value === "never") {
    throw new GatewayError("invalid_request", { message: `--${flag}: all takes the restriction away` });
  }
  return list(lifted(value, "all"));
}

function list(value: string | null | undefined): readonly string[] | null | undefined {
  return typeof value === "string" ? value.split(",").map((item) => item.trim()) : value;
}

function show(answer: Readonly<Record<string, unknown>>, { json }: Invocation): number {
  return json ? printJson(answer) : print(fields(answer));
}

function showSecret(answer: Readonly<Record<string, unknown>>, { json }: Invocation): number {
  if (json) return printJson(answer);
  const note =
    answer["key"] === null
      ? "This was asked for before; the key was shown then and is not kept."
      : "Store the key now: it is not kept, and not shown again.";
  return print(`${fields(answer)}\n\n${note}`);
}
