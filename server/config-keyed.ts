import { isIP } from "node:net";
import { resolve } from "node:path";
import { isPublicAddress } from "./alerts/public-address.ts";
import type { Config, JwtConfig } from "./config.ts";
import type { Problems } from "./config-problems.ts";
import type { ConfigInput } from "./config-schema.ts";
import { isLoopback, isPlainHttp } from "./config-values.ts";

/** The settings of keys, first-party tokens and the operator's API. */
type KeyedSettings = Pick<
  Config,
  "keys" | "jwt" | "ownKeys" | "sessionKeys" | "receipts" | "alerts" | "flood" | "adminToken"
>;

/** Settings of file and variables together; what one of them lacks because of another is reported. */
export function resolveKeyedTier(input: ConfigInput, cwd: string, problems: Problems): KeyedSettings {
  const { env, file } = input;
  reportAlerts(input, problems);
  reportSharedKey(env, problems);
  if (
    env.FAREBOX_ADMIN_TOKEN !== undefined &&
    env.ADMIN_PORT === undefined &&
    !problems.touches("ADMIN_PORT")
  ) {
    problems.add("ADMIN_PORT", "is missing: FAREBOX_ADMIN_TOKEN opens the admin API, which listens there");
  }
  return {
    keys: {
      prefixes: file.keys.prefixes,
      pepper: env.FAREBOX_KEY_PEPPER,
      acceptVoidKeys: env.FAREBOX_ACCEPT_VOID_KEYS,
      holdLeaseMs: file.keys.holdLease,
      callTimeoutMs: file.keys.callTimeout,
    },
    jwt: file.jwt === undefined ? undefined : resolveJwt(file.jwt, cwd, problems),
    ownKeys: { masterKeys: env.FAREBOX_MASTER_KEY ?? [], fee: file.byok.fee },
    sessionKeys: env.FAREBOX_SESSION_KEY ?? [],
    receipts: { ...file.receipts, keys: env.FAREBOX_RECEIPT_KEY ?? [] },
    alerts: {
      webhookUrl: file.alerts.webhookUrl,
      webhookSecret: env.FAREBOX_WEBHOOK_SECRET,
      allowPrivate: file.alerts.allowPrivate,
      lowBalance: file.alerts.lowBalance ?? undefined,
    },
    flood: floodConfig(file),
    adminToken: env.FAREBOX_ADMIN_TOKEN,
  };
}

/** What is counted by client address. */
export function floodConfig({ limits }: ConfigInput["file"]): Config["flood"] {
  const { badCredentialsPerMinute, refusedPaymentsPerMinute, trustedProxies } = limits;
  return { badCredentialsPerMinute, refusedPaymentsPerMinute, trustedProxies };
}

/** Whoever can change the answer of the JWKS URL can issue tokens, so it is not fetched over plain http. */
function resolveJwt(
  jwt: NonNullable<ConfigInput["file"]["jwt"]>,
  cwd: string,
  problems: Problems,
): JwtConfig {
  const { jwksUrl, jwksFile, issuer, audience, typ, billing, accountClaim } = jwt;
  const broken = problems.touches("jwt.jwksUrl") || problems.touches("jwt.jwksFile");
  if (!broken && (jwksUrl === undefined) === (jwksFile === undefined)) {
    problems.add("jwt", "needs one of jwksUrl and jwksFile");
  }
  if (jwksUrl !== undefined && isPlainHttp(jwksUrl)) {
    problems.add("jwt.jwksUrl", "must be https unless it is loopback");
  }
  return {
    jwksUrl,
    jwksFile: jwksFile === undefined ? undefined : resolve(cwd, jwksFile),
    issuer,
    audience,
    typ,
    billing,
    accountClaim,
  };
}

/** Whoever may check a receipt for years must not depend on how long a session's key lives. */
function reportSharedKey(env: ConfigInput["env"], problems: Problems): void {
  const used = [...(env.FAREBOX_SESSION_KEY ?? []), ...(env.FAREBOX_MASTER_KEY ?? [])].map(({ id }) => id);
  if (env.FAREBOX_RECEIPT_KEY?.some(({ id }) => used.includes(id)) === true) {
    problems.add("FAREBOX_RECEIPT_KEY", "must be a key of its own, not that of sessions or provider keys");
  }
}

/** An address that is written out, or this machine; what a name stands for is judged when connecting. */
function isPrivate(hostname: string): boolean {
  const address = hostname.replace(/^\[|\]$/g, "");
  return isLoopback(hostname) || (isIP(address) !== 0 && !isPublicAddress(address));
}

function reportAlerts({ env, file }: ConfigInput, problems: Problems): void {
  const { webhookUrl, allowPrivate } = file.alerts;
  if (webhookUrl === undefined) return;
  if (!allowPrivate && isPrivate(new URL(webhookUrl).hostname)) {
    problems.add(
      "alerts.webhookUrl",
      "is at a private address, where nothing is sent unless allowPrivate is on",
    );
  } else if (!allowPrivate && isPlainHttp(webhookUrl)) {
    problems.add("alerts.webhookUrl", "must be https, unless allowPrivate is on");
  }
  if (env.FAREBOX_WEBHOOK_SECRET === undefined && !problems.touches("FAREBOX_WEBHOOK_SECRET")) {
    problems.add("FAREBOX_WEBHOOK_SECRET", "is missing: alerts.webhookUrl needs it to sign with");
  }
}
