import type { Router } from "express";
import { openActions } from "../admin/open-actions.ts";
import { type AccountSenderOptions, createAccountSender } from "../alerts/account-webhook.ts";
import { createClientAddress } from "../auth/client-address.ts";
import { createFloodGuard } from "../auth/flood.ts";
import type { Config } from "../config.ts";
import { isLoopback } from "../config-values.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Logger } from "../log.ts";
import type { NodePool } from "../payment/node-pool.ts";
import { createProviderKeyBox } from "../provider-keys.ts";
import type { Receipts } from "../receipts/receipts.ts";
import { createAccountApi } from "./account-api.ts";
import { createCallers } from "./caller.ts";
import { createCsrfGuard } from "./csrf.ts";
import { withFewSearches } from "./few-searches.ts";
import { createOwnAccount } from "./own-account.ts";
import { createOwnAlerts, type OwnAlerts, TESTS_A_MINUTE } from "./own-alerts.ts";
import { cookieNames, createSessions } from "./session.ts";
import { deriveSessionKeys } from "./session-keys.ts";
import { createSignIn } from "./sign-in.ts";
import { createSigningRpc } from "./signing-rpc.ts";
import { createSpend } from "./spend.ts";

type AccountSettings = Pick<
  Config,
  | "network"
  | "caip2"
  | "asset"
  | "topUpTokens"
  | "routes"
  | "publicUrl"
  | "sessionKeys"
  | "flood"
  | "keys"
  | "ownKeys"
  | "upstreams"
>;

export interface AccountApiOptions {
  readonly ledger: Ledger;
  /** Undefined: no node is configured. */
  readonly nodes: NodePool | undefined;
  /** Undefined: none are given. */
  readonly receipts: Receipts | undefined;
  readonly log: Pick<Logger, "info" | "error">;
  /** Milliseconds since 1970; for tests. */
  readonly clock?: (() => number) | undefined;
  /** How hosts of webhooks are resolved and judged; for tests. */
  readonly webhookNetwork?: AccountSenderOptions["network"];
}

/**
 * Sign-in and the account API as this configuration allows them, on this ledger; undefined without a session key, which the log
 * says. The package that checks signatures brings other chains' with it, so it is loaded only here.
 */
export async function openAccountApi(
  config: AccountSettings,
  options: AccountApiOptions,
): Promise<Router | undefined> {
  const { nodes, receipts, log, clock = Date.now } = options;
  const ledger = withFewSearches(options.ledger);
  if (config.sessionKeys.length === 0) {
    log.info("the account API is off: FAREBOX_SESSION_KEY is not set");
    return undefined;
  }
  const library = await import("@x402/extensions/sign-in-with-x");
  const { publicUrl, caip2, flood } = config;
  const keys = deriveSessionKeys(config.sessionKeys);
  const actions = openActions(config, ledger);
  const clientAddress = createClientAddress(flood.trustedProxies);
  const signIn = createSignIn({ library, ledger, keys, publicUrl, chainId: caip2, clock });
  const sessions = createSessions({ ledger, keys, publicUrl, secure: !isLocal(config), clock });
  const csrf = createCsrfGuard(publicUrl, keys);
  const callers = createCallers({
    signIn,
    sessions,
    csrf,
    failures: createFloodGuard(flood),
    clientAddress,
    challengeUrl: `${publicUrl}/auth/challenge`,
  });
  return createAccountApi({
    signIn,
    sessions,
    csrf,
    callers,
    challenges: createFloodGuard(flood),
    clientAddress,
    own: createOwnAccount({ actions, ledger, receipts, network: caip2 }),
    spend: createSpend({ ledger, routes: config.routes, clock }),
    rpc: createSigningRpc({ nodes, mints: [config.asset, ...config.topUpTokens.map(({ mint }) => mint)] }),
    alerts: openOwnAlerts(config, options),
    actions,
    onFault: (error) => log.error({ err: error }, "account request failed"),
  });
}

function openOwnAlerts(
  { network, ownKeys }: AccountSettings,
  { ledger, clock = Date.now, webhookNetwork }: AccountApiOptions,
): OwnAlerts {
  const { masterKeys } = ownKeys;
  const isLocalMode = network === "local";
  return createOwnAlerts({
    ledger,
    box: masterKeys.length === 0 ? undefined : createProviderKeyBox(masterKeys),
    isLocal: isLocalMode,
    send: createAccountSender({ isLocal: isLocalMode, now: clock, network: webhookNetwork }),
    tests: createFloodGuard({ badCredentialsPerMinute: TESTS_A_MINUTE }),
    clock,
  });
}

/** Names of a session's cookies, where this configuration has an account API. */
export function accountCookies(
  config: Pick<AccountSettings, "sessionKeys" | "network" | "publicUrl">,
): ReturnType<typeof cookieNames> | undefined {
  return config.sessionKeys.length === 0 ? undefined : cookieNames(!isLocal(config));
}

/** Plain http on this machine, and no real money: browsers would not keep a Secure cookie there. */
function isLocal({ network, publicUrl }: Pick<AccountSettings, "network" | "publicUrl">): boolean {
  const { protocol, hostname } = new URL(publicUrl);
  return network === "local" && protocol === "http:" && isLoopback(hostname);
}
