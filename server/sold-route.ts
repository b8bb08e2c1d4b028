import type { IncomingMessage } from "node:http";
import { z } from "zod";
import { checkOptions, createProblems, throwProblems } from "./config-problems.ts";
import { price } from "./config-values.ts";
import type { Dialect, SettleMode } from "./routes.ts";

/** One priced route of an Express app or a `node:http` server. */
export interface SoldRoute {
  /** `"$0.02"` for each call. */
  readonly price: string;
  /** At most 500 characters, for agents and crawlers. */
  readonly description?: string;
  readonly mimeType?: string;
  readonly tags?: readonly string[];
  readonly settle?: SettleMode;
  readonly dialect?: Dialect;
  /** JSON Schema of the body or the query, for crawlers. */
  readonly input?: Readonly<Record<string, unknown>>;
  readonly outputExample?: unknown;
  /** Refuses a request before anything is claimed: a text is answered as 400, and costs the caller nothing. */
  readonly validate?: (req: IncomingMessage, body: Buffer) => string | undefined;
}

/** Routes by `METHOD /path`. */
export interface SoldTable {
  readonly routes: Readonly<Record<string, SoldRoute>>;
}

/** A callback among options. */
export function callback() {
  return z.custom((value) => typeof value === "function", { error: "must be a function" }).optional();
}

const soldRoute = z.strictObject({
  price: price().refine((amount) => amount > 0n, { error: "a price is at least $0.000001" }),
  description: z.string().optional(),
  mimeType: z.string().min(1).optional(),
  tags: z.array(z.string()).optional(),
  settle: z.enum(["after", "upfront"]).optional(),
  dialect: z.enum(["openai", "numeric"]).optional(),
  input: z.record(z.string(), z.unknown()).optional(),
  outputExample: z.unknown().optional(),
  validate: callback(),
});

const routeName = z.string().regex(/^(?:[A-Z]+|\*)\s+\/\S*$/, { error: 'write "METHOD /path"' });
const soldTable = z.strictObject({ routes: z.record(z.string(), soldRoute) });

/** Throws one Error that lists everything wrong with what was passed to `paywall(…)`. */
export function checkSold(sold: SoldRoute | SoldTable): void {
  const problems = createProblems();
  const isTable = typeof sold === "object" && sold !== null && "routes" in sold;
  if (isTable) {
    for (const name of Object.keys(sold.routes ?? {})) {
      const issue = routeName.safeParse(name).error?.issues[0];
      if (issue !== undefined) problems.add(["routes", name], issue.message);
    }
  }
  checkOptions(isTable ? soldTable : soldRoute, sold, problems);
  throwProblems("paywall", problems.list);
}
