import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UNRESTRICTED } from "../../server/ledger/account-ledger.ts";
import { hashSecret, mintKey } from "../../server/ledger/keys.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { gatewayEnv, NETWORK_ID, pathOf } from "../lane.ts";
import { type KeyedLane, type KeyedSurroundings, MODEL, type ReadyLane } from "./lane.ts";

const PREFIX = "sk_farebox_";
const ACCOUNT = "acct_bench";
/** More than any run can spend. */
const BALANCE = 1_000_000_000_000_000n;

/** MicroUsd that one call of the benchmark comes to: 8 tokens in, 1 out. */
export const CALL_PRICE = 8n * 1n + 1n * 4n;

/** The built gateway in production mode: request log and metrics on, the durable ledger with its journal on disk. */
export const farebox: KeyedLane = lane("farebox", "Farebox, keyed", "");

/** Hears as many bad keys as come, so that each is refused as a bad key. */
export const fareboxUnguarded: KeyedLane = lane(
  "farebox-unguarded",
  "Farebox, flood guard at its widest",
  "limits: { badCredentialsPerMinute: 1000000 }",
);

/** Sells to wallets too; all limits as they come. */
export const fareboxAttacked: KeyedLane = lane(
  "farebox-attacked",
  "Farebox, keys and wallets",
  'routes: { "GET /report": { upstream: bench, price: "$0.01" } }',
);

/** A key of the right form that was never made: its checksum is wrong. */
export function badKey(): string {
  const { secret, last4 } = mintKey(PREFIX);
  return secret.slice(0, -1) + (last4.endsWith("0") ? "1" : "0");
}

function lane(name: string, label: string, more: string): KeyedLane {
  return {
    name,
    label,
    streams: true,
    probePath: "/healthz",
    async prepare(directory, around) {
      const data = join(directory, "data");
      mkdirSync(data, { recursive: true });
      const onFatal = (error: Error) => {
        throw error;
      };
      const path = join(data, "ledger.sqlite");
      const secret = await openAccount(await openSqliteLedger({ path, network: NETWORK_ID, onFatal }));
      return readyGateway(name, directory, around, secret, more);
    },
  };
}

/** A gateway whose ledger, wherever it is, has the key already. */
export function readyGateway(
  name: string,
  directory: string,
  around: KeyedSurroundings,
  secret: string,
  more = "",
): ReadyLane {
  writeFileSync(join(directory, "farebox.yaml"), settings(around, more));
  const command = {
    name,
    directory,
    args: [pathOf("../dist/server/main.js")],
    env: gatewayEnv(directory, around),
  };
  return { command, headers: { authorization: `Bearer ${secret}` } };
}

/** An account with money and a key, in a new ledger, which is closed then. Returns the key's secret. */
export async function openAccount(ledger: Ledger): Promise<string> {
  const { secret, last4 } = mintKey(PREFIX);
  await ledger.createAccount(ACCOUNT, "bench");
  await ledger.creditAccount(ACCOUNT, BALANCE, "bench");
  const stored = { hash: hashSecret(secret, undefined), prefix: PREFIX, last4 };
  const created = await ledger.createKey(
    "key_bench",
    ACCOUNT,
    stored,
    { label: "bench", ...UNRESTRICTED },
    undefined,
  );
  await ledger.close();
  if (created.outcome !== "created") throw new Error(`the key was not made: ${created.outcome}`);
  return secret;
}

function settings({ upstreamUrl }: KeyedSurroundings, more: string): string {
  return [
    `upstreams: { bench: { url: "${upstreamUrl}" } }`,
    `models: { ${MODEL}: { upstream: bench, input: "$1/1M", output: "$4/1M", maxOutput: 16384 } }`,
    more,
    "",
  ].join("\n");
}
