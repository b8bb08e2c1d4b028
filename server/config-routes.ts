import { match } from "path-to-regexp";
import { AGENT_ROUTE, CHAT_ROUTE, EMBEDDINGS_ROUTE, type RouteCard } from "./catalog.ts";
import { isRecord, type Path, type Problems } from "./config-problems.ts";
import type { ConfigInput, RouteInput } from "./config-schema.ts";
import type { MicroUsd } from "./money.ts";
import { takenBy } from "./route-table.ts";
import type { Dialect, Route, Target, Tier } from "./routes.ts";

const SELLABLE = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** The OpenAI-compatible mounts and the dialect in which each answers errors (design: section 7). */
const MOUNTS: readonly { readonly prefix: string; readonly dialect: Dialect }[] = [
  { prefix: "/v1", dialect: "openai" },
  { prefix: "/ai", dialect: "openai" },
  { prefix: "/api/v1", dialect: "numeric" },
];

/** Sign-in and accounts: a pattern that also matches one of these would sell people the way to their own money. */
const ACCOUNT_PATHS = [
  "/account",
  ...[
    "keys",
    "keys/id",
    "keys/id/rotate",
    "usage",
    "spend",
    "journal",
    "rpc",
    "provider-keys",
    "provider-keys/name",
  ].map((rest) => `/account/${rest}`),
  ...["challenge", "verify", "session", "refresh", "logout", "logout-everywhere"].map(
    (rest) => `/auth/${rest}`,
  ),
];

/** The console: the page, what it asks for, and its screens. */
const CONSOLE_PATHS = [
  "/console",
  ...["config.json", "index.html", "keys", "assets/index.js", "local/faucet"].map(
    (rest) => `/console/${rest}`,
  ),
];

/** What must stay free: a pattern that also matches one of these would sell the health check or the discovery. */
const FREE_PATHS = [
  "/healthz",
  "/readyz",
  "/openapi.json",
  "/llms.txt",
  "/robots.txt",
  "/favicon.svg",
  "/.well-known/x402",
  "/.well-known/x402.json",
  "/.well-known/api-catalog",
  ...MOUNTS.map(({ prefix }) => `${prefix}/models`),
];

/** CDP's facilitator settles nothing below $0.001. */
const CDP_MINIMUM: MicroUsd = 1_000n;

/** The endpoints that have a price, on every mount; a price of null or false switches an endpoint off. */
export function builtInRoutes({ prices, tiers: named, jwt }: ConfigInput["file"]): readonly Route[] {
  const tiers: readonly Tier[] = named ?? ["x402", "key", ...(jwt === undefined ? [] : ["jwt" as const])];
  const builtIn = (...[card, price, path, dialect, target]: BuiltIn): readonly Route[] =>
    price === null || price === false
      ? []
      : [{ ...card, method: "POST", path, price, tiers, settle: "after", dialect, target }];
  const agent = builtIn(AGENT_ROUTE, prices.agent, "/agent", "openai", { kind: "agent" });
  const mounted = MOUNTS.flatMap(({ prefix, dialect }) => [
    ...builtIn(CHAT_ROUTE, prices.chat, `${prefix}/chat/completions`, dialect, {
      kind: "openai",
      endpoint: "chat",
    }),
    ...builtIn(EMBEDDINGS_ROUTE, prices.embeddings, `${prefix}/embeddings`, dialect, {
      kind: "openai",
      endpoint: "embeddings",
    }),
  ]);
  return [...agent, ...mounted];
}

type BuiltIn = [
  card: RouteCard,
  price: MicroUsd | null | false,
  path: string,
  dialect: Dialect,
  target: Target,
];

/** Routes that take first-party tokens where nobody is configured to check them. */
export function reportTiers(file: ConfigInput["file"], problems: Problems): void {
  if (file.jwt !== undefined || problems.touches("jwt")) return;
  const reason = "lists jwt, but jwt: is not configured";
  if (file.tiers?.includes("jwt") === true) problems.add("tiers", reason);
  for (const [key, { tiers }] of Object.entries(file.routes)) {
    if (tiers.includes("jwt")) problems.add(["routes", key, "tiers"], reason);
  }
}

/** The file's own routes, each forwarded as it is. What is wrong with one is reported and the route left out. */
export function fileRoutes(file: ConfigInput["file"], problems: Problems): readonly Route[] {
  return Object.entries(file.routes).flatMap(([key, input]) => {
    const [, method = "", path = ""] = /^([A-Z]+) (\/\S*)$/.exec(key) ?? [];
    const reason = refusal(method, path, file.console);
    if (reason !== undefined) {
      problems.add(["routes", key], reason);
      return [];
    }
    if (hasLookAround(input.input)) {
      problems.add(
        ["routes", key, "input"],
        "has a pattern with look-ahead or look-behind, which indexes refuse",
      );
    }
    return [forwarded(method, path, input)];
  });
}

function forwarded(method: string, path: string, input: RouteInput): Route {
  return {
    method,
    path,
    price: input.price,
    tiers: input.tiers,
    settle: input.settle,
    dialect: "openai",
    target: { kind: "forward", upstream: input.upstream },
    description: input.description ?? `${method} ${path}`,
    mimeType: input.mimeType,
    tags: input.tags,
    input: input.input,
    ...(input.output === undefined ? {} : { outputExample: input.output }),
  };
}

function refusal(method: string, path: string, hasConsole: boolean): string | undefined {
  if (path === "") return 'write "METHOD /path", such as "GET /report/:id"';
  if (!SELLABLE.includes(method)) return `this method cannot be sold; use one of ${SELLABLE.join(", ")}`;
  try {
    const matches = match(path);
    const kept = [...(method === "GET" ? FREE_PATHS : []), ...ACCOUNT_PATHS];
    const free = kept.find((candidate) => matches(candidate) !== false);
    if (free !== undefined) return `would also sell ${free}, which stays free; use a prefix`;
    const inConsole =
      /^\/console(?:[/{]|$)/i.test(path) || CONSOLE_PATHS.some((candidate) => matches(candidate) !== false);
    return hasConsole && inConsole
      ? "would also sell /console, which is for people; use another path, or set console: false"
      : undefined;
  } catch {
    return "is not a path pattern of Express 5 (/report/:id, /files/*path, /a{/:b})";
  }
}

/**
 * Two routes of one method whose patterns differ only in the names of parameters, case or a trailing slash, and routes that are never
 * reached.
 */
export function reportDuplicates(
  builtIns: readonly Route[],
  own: readonly Route[],
  problems: Problems,
): void {
  const seen = new Map(builtIns.map((route) => [shape(route), `the built-in ${title(route)}`]));
  for (const [index, route] of own.entries()) {
    const earlier = seen.get(shape(route));
    const before = takenBy(route, own.slice(0, index));
    if (earlier !== undefined) problems.add(routePath(route), `is the same route as ${earlier}`);
    else if (before !== undefined)
      problems.add(
        routePath(route),
        `is never reached: ${title(before)} takes its paths; put it before that`,
      );
    seen.set(shape(route), earlier ?? title(route));
  }
}

/** Prices below what the facilitator can settle. */
export function reportLowPrices(
  file: ConfigInput["file"],
  own: readonly Route[],
  coinbase: boolean,
  problems: Problems,
): void {
  const minimum = coinbase ? CDP_MINIMUM : 1n;
  const reason = coinbase
    ? "Coinbase's facilitator settles nothing below $0.001"
    : "a price is at least $0.000001";
  for (const [name, price] of Object.entries(file.prices)) {
    if (typeof price === "bigint" && price < minimum) problems.add(["prices", name], reason);
  }
  for (const route of own) if (route.price < minimum) problems.add([...routePath(route), "price"], reason);
}

function routePath(route: Route): Path {
  return ["routes", title(route)];
}

function title(route: Route): string {
  return `${route.method} ${route.path}`;
}

function shape(route: Route): string {
  const path = route.path
    .replace(/([:*])(?:"[^"]*"|[\p{ID_Start}$_][\p{ID_Continue}$]*)/gu, "$1")
    .replace(/(?<=.)\/$/, "");
  return `${route.method} ${path.toLowerCase()}`;
}

/** JSON Schema patterns with look-around cannot be used by RE2-based indexes such as CDP's. */
function hasLookAround(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.some(hasLookAround);
  if (!isRecord(schema)) return false;
  return Object.entries(schema).some(
    ([key, value]) =>
      (key === "pattern" && typeof value === "string" && /\(\?<?[=!]/.test(value)) || hasLookAround(value),
  );
}
