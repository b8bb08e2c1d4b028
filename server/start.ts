import { once } from "node:events";
import type { Server } from "node:http";
import type { Clock } from "../facilitator-client/clock.ts";
import { accountCookies, openAccountApi } from "./account/open-account-api.ts";
import { createAdminApi } from "./admin/admin-api.ts";
import { type AdminServer, createAdminServer } from "./admin/admin-server.ts";
import { openActions } from "./admin/open-actions.ts";
import { createApp, type Readiness } from "./app.ts";
import type { Config } from "./config.ts";
import { openConsole } from "./console/open-console.ts";
import { createGateway, drain } from "./gateway.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Logger } from "./log.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import type { MicroUsd } from "./money.ts";
import { observeReceipts } from "./observe-payments.ts";
import { observeUnsold } from "./observe-unsold.ts";
import type { FacilitatorHealth } from "./open-facilitators.ts";
import { openOrClose } from "./open-or-close.ts";
import { type OpenedPayments, openPayments } from "./open-payments.ts";
import type { Payments } from "./payments.ts";
import type { CallPrices } from "./proxy/model-catalog.ts";
import { createProxy, type UpstreamProxy } from "./proxy/proxy.ts";
import { publishedRoutes } from "./published-routes.ts";
import { type OpenedReceipts, openReceipts } from "./receipts/receipts.ts";
import type { Route } from "./routes.ts";
import type { PublicToken } from "./top-up-tokens.ts";

/** A gateway that listens. */
export interface RunningGateway {
  /** Where it listens, `http://host:port`. */
  readonly url: string;
  readonly adminPort: number | undefined;
  readonly ledger: Ledger;
  readonly payments: Payments;
  /** What is public of the tokens that credit can be paid in besides USDC. */
  topUpTokens(): readonly PublicToken[];
  /** Stops accepting, finishes open charges within the drain deadline, closes everything. */
  close(): Promise<void>;
}

export interface StartOptions {
  readonly config: Config;
  readonly log: Logger;
  /** The ledger can no longer be trusted to record: the process must stop. */
  readonly onFatal: (error: Error) => void;
  /** When facilitators are asked what they support; default: the machine's. */
  readonly clock?: Clock;
  /** Where the built console is; default: where the build puts it. */
  readonly consoleDirectory?: string;
}

const READINESS_MS = 1_000;
const DROP_WARNING_EVERY_MS = 60_000;

/** Configuration -> parts -> listen. Rejects, and leaves nothing open, if the ledger cannot be opened or a port is taken. */
export async function startGateway(options: StartOptions): Promise<RunningGateway> {
  const { config, log, onFatal, clock } = options;
  const metrics = createMetrics();
  const { receipts, documents } = await openReceipts(config, observeReceipts(log, metrics));
  const proxy = createProxy({
    ...config,
    streamingTypes: config.payment.streamingTypes,
    onFault: (error, at) => log.warn({ err: error, ...at }, "upstream failed"),
  });
  const settings = { settings: config, keyedTier: config, receipts };
  const opened = await openPayments({ ...settings, log, metrics, onFatal, clock });
  const { payments, ledger } = opened;
  let admin: AdminServer | undefined;
  async function closeParts(): Promise<void> {
    await opened.close();
    await Promise.all([proxy.close(), admin?.close()]);
  }
  return openOrClose(async () => {
    const app = await openApp(options, { opened, proxy, receipts, documents });
    const { paywall } = payments;
    const server = createGateway({
      limits: config.server,
      routes: config.routes,
      paywall,
      proxy,
      app,
      onUnsold: observeUnsold(log),
    });
    server.on("drop", createDropWarning(config, log));
    admin = await listenAdmin(config, metrics, ledger, log);
    await listen(server, config);
    return {
      url: urlOf(server, config),
      adminPort: admin?.port,
      ledger,
      payments,
      topUpTokens: opened.topUpTokens.list,
      async close() {
        await drain(server, paywall, config.drainMs);
        await closeParts();
      },
    };
  }, closeParts);
}

interface AppParts extends OpenedReceipts {
  readonly opened: OpenedPayments;
  readonly proxy: UpstreamProxy;
}

/** Everything that is not priced. */
async function openApp(
  { config, log, consoleDirectory }: StartOptions,
  { opened, proxy, receipts, documents }: AppParts,
) {
  const { ledger, keyed, nodes } = opened;
  return createApp({
    discovery: {
      service: { ...config.service, publicUrl: config.publicUrl, updatedAt: today() },
      routes: publishedRoutes(config, opened),
      freeRoutes: FREE_ROUTES,
      fixed: documents,
      account: accountCookies(config),
    },
    routes: config.routes,
    models: () => proxy.models(callPrices(config.routes)),
    accounts: await openAccountApi(config, { ledger, nodes, receipts, log }),
    console: openConsole(config, log, opened.topUpTokens.list, consoleDirectory),
    keys: keyed && { authenticator: keyed.authenticator, ledger },
    readiness: () => readiness(opened, proxy),
    onFault: (error) => log.error({ err: error }, "request failed"),
  });
}

const FREE_ROUTES = [
  {
    method: "GET",
    path: "/v1/models",
    description: "Models offered, with prices.",
    mimeType: "application/json",
  },
  { method: "GET", path: "/healthz", description: "Whether the process runs.", mimeType: "application/json" },
];

/** The offer is as old as this process, in whole days: gateways behind one URL must give one ETag. */
function today(): Date {
  return new Date(new Date().toISOString().slice(0, 10));
}

/** What a call costs at each endpoint that serves models; the mounts of one endpoint have one price. */
function callPrices(routes: readonly Route[]): CallPrices {
  const prices: Record<string, MicroUsd> = {};
  for (const { target, price } of routes) {
    if (target.kind === "agent") prices["agent"] = price;
    if (target.kind === "openai") prices[target.endpoint] = price;
  }
  return prices;
}

async function readiness(
  { ledger, payments, facilitatorHealth }: OpenedPayments,
  proxy: UpstreamProxy,
): Promise<Readonly<Record<string, Readiness>>> {
  const late = new Promise<boolean>((resolve) => setTimeout(resolve, READINESS_MS, false).unref());
  const answered = ledger.ping().then(
    () => true,
    () => false,
  );
  const [upstreams, health] = await Promise.all([proxy.ready(), facilitatorHealth()]);
  return {
    ledger: { ok: await Promise.race([answered, late]) },
    facilitator: { ok: payments.terms.current() !== undefined, ...describeFacilitators(health) },
    ...Object.fromEntries(Object.entries(upstreams).map(([name, ok]) => [`upstream:${name}`, { ok }])),
  };
}

/** One that is down is no reason to send callers away: the others sell, and keys do not need it. */
function describeFacilitators(health: readonly FacilitatorHealth[]): { readonly detail?: string } {
  if (health.length === 0) return {};
  return { detail: health.map(({ name, state }) => `${name} ${state}`).join(", ") };
}

async function listen(server: Server, { host, port }: Config): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    throw portFault(cause, "PORT", host, port);
  }
}

/** One line a minute at most: whoever opens connections by the thousand must not fill the log. */
function createDropWarning({ server: { maxConnections } }: Config, log: Logger): () => void {
  let dropped = 0;
  let quietUntil = 0;
  return () => {
    dropped += 1;
    const now = performance.now();
    if (now < quietUntil) return;
    quietUntil = now + DROP_WARNING_EVERY_MS;
    log.warn({ dropped, maxConnections }, "connections closed unheard: limits.connections are open");
  };
}

function urlOf(server: Server, config: Config): string {
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.port;
  const host = config.host.includes(":") ? `[${config.host}]` : config.host;
  return `http://${host}:${port}`;
}

async function listenAdmin(
  config: Config,
  metrics: Metrics,
  ledger: Ledger,
  log: Logger,
): Promise<AdminServer | undefined> {
  const { adminPort, adminHost, adminToken } = config;
  if (adminPort === undefined) return undefined;
  const onFault = (error: unknown): void => log.error({ err: error }, "admin request failed");
  const api =
    adminToken === undefined
      ? undefined
      : createAdminApi({ actions: openActions(config, ledger), token: adminToken, onFault });
  try {
    return await createAdminServer({ metrics, host: adminHost, port: adminPort, api });
  } catch (cause) {
    throw portFault(cause, "ADMIN_PORT", adminHost, adminPort);
  }
}

/** Says which setting to change if the port is taken; anything else as it is. */
function portFault(cause: unknown, variable: string, host: string, port: number): unknown {
  const inUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
  if (!inUse) return cause;
  return new Error(`Port ${port} on ${host} is in use. Set ${variable} to a free one.`, { cause });
}
