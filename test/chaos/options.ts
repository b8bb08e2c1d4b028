import { parseArgs } from "node:util";
import { z } from "zod";

/** How much of what is to happen, and from which seed. */
export interface ChaosOptions {
  readonly seed: number;
  readonly ledger: "sqlite" | "redis";
  readonly agents: number;
  readonly clients: number;
  /** The load goes on until all three are reached, or the time is over. */
  readonly faults: number;
  readonly paid: number;
  readonly keyed: number;
  /** Most seconds of load; bringing everything to its end comes after them. */
  readonly seconds: number;
  /** Milliseconds between two faults, at most. */
  readonly gapMs: number;
}

export interface Command {
  readonly options: ChaosOptions;
  readonly json: boolean;
  readonly write: boolean;
  /** Where the logs go; undefined: nowhere. */
  readonly logs: string | undefined;
}

/** The short form, which is one of the tests. */
export const SHORT: ChaosOptions = {
  seed: 1,
  ledger: "redis",
  agents: 24,
  clients: 8,
  faults: 16,
  paid: 150,
  keyed: 800,
  seconds: 40,
  gapMs: 1_000,
};

const FULL = {
  agents: 200,
  clients: 50,
  faults: 200,
  paid: 5_000,
  keyed: 50_000,
  seconds: 900,
  gapMs: 2_000,
};

export const HELP = `npm run chaos -- [options]

Two gateways on one ledger under load, while things are killed, delayed and broken off at random. At the end every transfer
on the chain is compared with what clients got and with what the ledger says. The exit code is 1 if any promise is broken.

  --seed N       makes the same choices again; made up and printed if left out
  --ledger KIND  sqlite (default) or redis, which needs redis-server
  --faults N     at least so many (${FULL.faults})
  --paid N       at least so many delivered calls by wallet (${FULL.paid})
  --keyed N      at least so many delivered calls by key (${FULL.keyed})
  --agents N     wallets at work (${FULL.agents})
  --clients N    keyed clients at work (${FULL.clients})
  --seconds N    load ends after this, whatever was reached (${FULL.seconds})
  --gap MS       most milliseconds between two faults (${FULL.gapMs})
  --short        the small run of the test suite, on Redis; the options above change it
  --json         the result as JSON, progress on standard error
  --logs DIR     keep what everybody knew, as JSON lines
  --write        put the table into docs/reliability.md
  --help`;

const count = (most: number) => z.coerce.number().int().min(0).max(most).optional();

const wanted = z.object({
  seed: count(4_294_967_295),
  ledger: z.enum(["sqlite", "redis"]).optional(),
  faults: count(100_000),
  paid: count(10_000_000),
  keyed: count(10_000_000),
  agents: count(10_000),
  clients: count(10_000),
  seconds: count(86_400),
  gap: count(600_000),
});

/** Reads the command line; undefined: help was asked for. Throws on what it does not know. */
export function readCommand(words: readonly string[]): Command | undefined {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({
    args: [...words],
    options: {
      ...{ seed: text, ledger: text, faults: text, paid: text, keyed: text, agents: text, clients: text },
      ...{ seconds: text, gap: text, logs: text, short: flag, json: flag, write: flag, help: flag },
    },
  });
  if (values.help) return undefined;
  const { gap, ...given } = wanted.parse(values);
  const base: ChaosOptions = values.short
    ? SHORT
    : { seed: Math.floor(Math.random() * 4_294_967_296), ledger: "sqlite", ...FULL };
  const options = {
    seed: given.seed ?? base.seed,
    ledger: given.ledger ?? base.ledger,
    faults: given.faults ?? base.faults,
    paid: given.paid ?? base.paid,
    keyed: given.keyed ?? base.keyed,
    agents: given.agents ?? base.agents,
    clients: given.clients ?? base.clients,
    seconds: given.seconds ?? base.seconds,
    gapMs: gap ?? base.gapMs,
  };
  return { options, json: values.json, write: values.write, logs: values.logs };
}
