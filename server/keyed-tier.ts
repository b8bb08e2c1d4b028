import { createAccountSender } from "./alerts/account-webhook.ts";
import { createAccountAlertDelivery } from "./alerts/deliver-account-alerts.ts";
import { createAlertDelivery } from "./alerts/deliver-alerts.ts";
import type { Rounds } from "./alerts/rounds.ts";
import { type Authenticator, createAuthenticator } from "./auth/authenticate.ts";
import { createClientAddress } from "./auth/client-address.ts";
import { createFloodGuard } from "./auth/flood.ts";
import { createJwtVerifier } from "./auth/jwt.ts";
import type { Config } from "./config.ts";
import { createCreditDesk } from "./credit-desk.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Logger } from "./log.ts";
import { type MicroUsd, shareOf } from "./money.ts";
import type { CreditDesk } from "./payment/buy-credit.ts";
import { createHoldKeeper, type HoldKeeper } from "./payment/holds.ts";
import type { PaywallParts } from "./payment/paywall.ts";
import { createProviderKeyBox, ownKeyProviders, type ProviderKeyStatus } from "./provider-keys.ts";

export type KeyedTierSettings = Pick<
  Config,
  | "network"
  | "keys"
  | "jwt"
  | "ownKeys"
  | "sessionKeys"
  | "alerts"
  | "flood"
  | "payment"
  | "topUp"
  | "topUpTokens"
  | "upstreams"
>;

/** What keys and first-party tokens need beside the payments. */
export interface KeyedTier {
  readonly paywall: NonNullable<PaywallParts["keys"]>;
  readonly authenticator: Authenticator;
  readonly holds: HoldKeeper;
  /** Undefined: no credit is sold. */
  readonly desk: CreditDesk | undefined;
  close(): Promise<void>;
}

const SWEEP_EVERY_MS = 5_000;
/** Where the master key is there, it is the record that is not what was stored. */
const NOT_AS_STORED = "it is altered, or was sealed for another account";
const WHY_CLOSED: Readonly<Record<ProviderKeyStatus, string>> = {
  active: NOT_AS_STORED,
  outdated: NOT_AS_STORED,
  unusable: "it was sealed under a key that FAREBOX_MASTER_KEY does not have",
};

/** Puts the parts of the keyed tier together and begins to sweep the holds that crashes left. */
export function openKeyedTier(settings: KeyedTierSettings, ledger: Ledger, log: Logger): KeyedTier {
  const onFault = (error: unknown, holdId?: string): void =>
    log.error({ err: error, holdId }, "keyed call's step failed");
  const { keys, jwt, ownKeys, alerts, flood, payment } = settings;
  // Not at `info`: whoever knows no token can bring about any number of them.
  const onRefused = (reason: string) => log.debug({ reason }, "first-party token refused");
  const authenticator = createAuthenticator({
    prefixes: keys.prefixes,
    pepper: keys.pepper,
    jwt: jwt === undefined ? undefined : createJwtVerifier(jwt, { onFault, onRefused }),
    jwtIsFree: jwt?.billing === "free",
    onUnknownAccount: () => onRefused("there is no account of that id"),
    flood: createFloodGuard(flood),
    clientAddress: createClientAddress(flood.trustedProxies),
  });
  const holds = createHoldKeeper(ledger, keys.holdLeaseMs, onFault);
  const box = createProviderKeyBox(ownKeys.masterKeys);
  const delivery = createAlertDelivery({
    ledger,
    config: alerts,
    onFault,
    onFailed: ({ id, kind, attempt }, reason, givenUp) =>
      log.warn({ alert: id, kind, attempt, reason, givenUp }, "alert webhook failed"),
  });
  delivery?.start();
  const accountDelivery = openAccountDelivery(settings, ledger, log, onFault);
  accountDelivery?.start();
  // After a stall or a sleep our own calls come first: a sweep must not take what is only late to be renewed.
  const sweepOnce = async (): Promise<void> => {
    await holds.renew();
    await ledger.sweepHolds().catch(onFault);
  };
  const sweep = setInterval(() => void sweepOnce(), SWEEP_EVERY_MS).unref();
  const desk = settings.topUp && createCreditDesk({ ledger, authenticator, keys, bounds: settings.topUp });
  return {
    authenticator,
    holds,
    desk,
    paywall: {
      authenticator,
      ledger,
      charges: {
        ledger,
        holds,
        storeTtlMs: payment.storeResponseTtlMs,
        lowBalance: alerts.lowBalance,
        onFault,
      },
      holdLeaseMs: keys.holdLeaseMs,
      callTimeoutMs: keys.callTimeoutMs,
      ownKeyProviders: new Set(ownKeyProviders(settings.upstreams)),
      ownKeyFee: feeOf(ownKeys.fee),
      openProviderKey(account, provider, sealed) {
        const secret = box.open(account, provider, sealed);
        if (secret === undefined) {
          const why = WHY_CLOSED[box.statusOf(sealed.masterKeyId)];
          log.warn({ account, provider }, `a customer's own provider key cannot be opened: ${why}`);
        }
        return secret;
      },
    },
    async close() {
      clearInterval(sweep);
      holds.close();
      await Promise.all([delivery?.close(), accountDelivery?.close()]);
    },
  };
}

/** Undefined: no account can have a webhook, for there is no account API or no key to keep its secret under. */
function openAccountDelivery(
  { network, ownKeys, sessionKeys }: KeyedTierSettings,
  ledger: Ledger,
  log: Logger,
  onFault: (error: unknown) => void,
): Rounds | undefined {
  if (sessionKeys.length === 0 || ownKeys.masterKeys.length === 0) return undefined;
  const send = createAccountSender({ isLocal: network === "local", now: Date.now });
  const box = createProviderKeyBox(ownKeys.masterKeys);
  const onUnusable = (account: string) =>
    log.warn(
      { account },
      "the secret of an account's webhook cannot be opened: FAREBOX_MASTER_KEY is another",
    );
  return createAccountAlertDelivery({ ledger, box, send, onFault, onUnusable });
}

function feeOf(fee: Config["ownKeys"]["fee"]): (metered: MicroUsd) => MicroUsd {
  return fee.kind === "call" ? () => fee.price : (metered) => shareOf(metered, fee.basisPoints);
}
