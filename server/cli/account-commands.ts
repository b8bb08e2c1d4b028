import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { GatewayError } from "../errors.ts";
import type { Command } from "./command.ts";
import { fields, note, print, printJson, table } from "./output.ts";
import { withActions } from "./store.ts";

/** Where the secret of a provider key may stand instead of stdin; arguments are seen by every user of the machine. */
const PROVIDER_KEY_VARIABLE = "FAREBOX_PROVIDER_KEY";

/** Accounts, their money, their calls and their own provider keys. */
export const accountCommands: Readonly<Record<string, Command>> = {
  "accounts create": {
    usage: "accounts create [NAME] [--id ID] [--idempotency-key KEY]",
    summary: "Open an account with a balance of zero.",
    details: [
      "Its id is made up unless one is given. A repeat under the same idempotency key opens no second one.",
    ],
    arity: [0, 1],
    flags: ["name", "label", "id", "idempotency-key"],
    run: (invocation) =>
      withActions("accounts create", invocation, async (actions) => {
        const { name, label, id, "idempotency-key": repeatKey } = invocation.flags;
        const given = invocation.positionals[0] ?? name ?? label;
        const account = await actions.createAccount(defined({ name: given, id }), repeatKey);
        return invocation.json ? printJson(account) : print(fields(account));
      }),
  },
  "accounts list": {
    usage: "accounts list",
    summary: "Show all accounts with their balances.",
    arity: [0, 0],
    flags: [],
    run: (invocation) =>
      withActions("accounts list", invocation, async (actions) => {
        const answer = await actions.listAccounts();
        if (invocation.json) return printJson(answer);
        return print(table(answer["accounts"], ["id", "name", "balance_usd", "held_usd", "created_at"]));
      }),
  },
  credit: {
    usage: "credit ACCOUNT USD --reference REF",
    summary: "Put money onto an account, once for each reference.",
    details: [
      "A repeat with the same reference and amount changes nothing; with another amount it is refused.",
    ],
    arity: [2, 2],
    flags: ["reference"],
    run: (invocation) =>
      withActions("credit", invocation, async (actions) => {
        const [account = "", amount] = invocation.positionals;
        if (invocation.flags["reference"] === undefined) {
          throw new GatewayError("invalid_request", { message: "--reference is missing" });
        }
        const credit = await actions.creditAccount(account, defined({ amount, ...invocation.flags }));
        return invocation.json ? printJson(credit) : print(fields(credit));
      }),
  },
  usage: {
    usage: "usage [--account A] [--key ID] [--since WHEN] [--before N] [--limit N] [--csv]",
    summary: "Show calls and what they cost, newest first.",
    details: [
      "--since takes a date (2027-01-31), a time (2027-01-31T08:00:00Z) or a span (24h, 30d).",
      "--limit is 100 unless given, at most 1000; --csv without it writes everything.",
      "--before shows what came before the call of that number; it is told below a page that is full.",
    ],
    arity: [0, 0],
    flags: ["account", "key", "since", "before", "limit"],
    csv: true,
    run: (invocation) =>
      withActions("usage", invocation, async (actions) => {
        if (invocation.csv && invocation.json) {
          throw new GatewayError("invalid_request", { message: "write --csv or --json, not both" });
        }
        const query = defined(invocation.flags);
        if (invocation.csv) return printChunks(actions.usageCsv(query));
        const answer = await actions.usage(query);
        if (invocation.json) return printJson(answer);
        const columns = ["at", "account", "key_label", "tier", "route", "model", "prompt_tokens"];
        print(
          table(answer["usage"], [...columns, "completion_tokens", "charged_usd", "status", "not_charged"]),
        );
        const { next_before: next } = answer;
        if (next !== null) note(`farebox usage: what is older, if anything: --before ${String(next)}`);
        return 0;
      }),
  },
  "provider-keys set": {
    usage: "provider-keys set ACCOUNT PROVIDER",
    summary: "Store an account's own key for an upstream.",
    details: [`The key is read from stdin, or from ${PROVIDER_KEY_VARIABLE}; never from the command line.`],
    arity: [2, 2],
    flags: [],
    run: (invocation) =>
      withActions("provider-keys set", invocation, async (actions) => {
        const [account = "", provider = ""] = invocation.positionals;
        const secret = process.env[PROVIDER_KEY_VARIABLE] ?? (await readStdin());
        const stored = await actions.setProviderKey(account, provider, { secret: secret.trim() });
        return invocation.json ? printJson(stored) : print(fields(stored));
      }),
  },
  "provider-keys list": {
    usage: "provider-keys list [ACCOUNT]",
    summary: "Show for which upstreams an account has own keys, or every account.",
    details: [
      "status: active; outdated: sealed under a former key of FAREBOX_MASTER_KEY, set it again before that is taken out;",
      "unusable: sealed under a key that FAREBOX_MASTER_KEY does not have.",
    ],
    arity: [0, 1],
    flags: [],
    run: (invocation) =>
      withActions("provider-keys list", invocation, async (actions) => {
        const [account] = invocation.positionals;
        const answer = await (account === undefined
          ? actions.listAllProviderKeys()
          : actions.listProviderKeys(account));
        if (invocation.json) return printJson(answer);
        const columns = ["provider", "last4", "status", "created_at"];
        return print(
          table(answer["provider_keys"], account === undefined ? ["account", ...columns] : columns),
        );
      }),
  },
  "provider-keys delete": {
    usage: "provider-keys delete ACCOUNT PROVIDER",
    summary: "Forget an account's own key; its calls go out on the managed key again.",
    arity: [2, 2],
    flags: [],
    run: (invocation) =>
      withActions("provider-keys delete", invocation, async (actions) => {
        const [account = "", provider = ""] = invocation.positionals;
        const deleted = await actions.deleteProviderKey(account, provider);
        return invocation.json ? printJson(deleted) : print(fields(deleted));
      }),
  },
};

/** The flags that were given. */
export function defined(flags: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
}

async function printChunks(chunks: AsyncIterable<string>): Promise<number> {
  try {
    await pipeline(Readable.from(chunks), process.stdout, { end: false });
  } catch (error) {
    const hasLeft = error instanceof Error && "code" in error && error.code === "EPIPE";
    if (!hasLeft) throw error;
  }
  return 0;
}

async function readStdin(): Promise<string> {
  if (process.stdin.isTTY) {
    throw new GatewayError("invalid_request", {
      message: `pipe the key into stdin, or set ${PROVIDER_KEY_VARIABLE}`,
    });
  }
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += String(chunk);
  return text;
}
