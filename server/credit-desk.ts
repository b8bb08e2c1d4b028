import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { setTimeout } from "node:timers/promises";
import { sha256 } from "./admin/action-parts.ts";
import { parseKeyPurchase, parseTopUp } from "./admin/inputs.ts";
import { keyView } from "./admin/views.ts";
import { activeKey } from "./auth/active-key.ts";
import type { Authenticator } from "./auth/authenticate.ts";
import { wrongTier } from "./auth/credential.ts";
import type { KeysConfig, TopUpConfig } from "./config.ts";
import { GatewayError } from "./errors.ts";
import type { AccountLedger, KeySettings } from "./ledger/account-ledger.ts";
import { hashSecret, mintKey } from "./ledger/keys.ts";
import { creditedAccount, LedgerFault } from "./ledger/ledger.ts";
import { formatUsd, type MicroUsd } from "./money.ts";
import type { CreditDesk, CreditedPayment } from "./payment/buy-credit.ts";
import { parseJsonBody } from "./proxy/request-json.ts";

export interface CreditDeskParts {
  readonly ledger: Pick<AccountLedger, "account" | "createKey" | "keyBySecret">;
  readonly authenticator: Authenticator;
  readonly keys: Pick<KeysConfig, "prefixes" | "pepper">;
  readonly bounds: TopUpConfig;
}

type Answer = Readonly<Record<string, unknown>>;

const SHOWN_ONCE =
  "This payment has bought this key already. Its secret was shown once, in the first answer, and is stored nowhere.";

/** Sells credit, and keys to it, to whoever pays by wallet: what is asked for, whose account it is, and the answer. */
export function createCreditDesk(parts: CreditDeskParts): CreditDesk {
  const { ledger } = parts;

  async function answerCredit({ record, repeated }: CreditedPayment): Promise<Answer> {
    const account = creditedAccount(record);
    const now = await ledger.account(account);
    return {
      account,
      amount: formatUsd(record.amount),
      currency: "USD",
      asset: record.asset,
      asset_amount: record.assetAmount.toString(),
      transaction: record.transaction ?? null,
      balance: formatUsd(now === undefined ? 0n : now.balance - now.held),
      repeated,
    };
  }

  /**
   * One key for each payment: the ledger makes it once, however often and at once it is asked to. Nothing that can fail comes
   * after, and a step whose answer was lost is sent again: a secret that is stored and not shown is lost for good.
   */
  async function answerKey(paid: CreditedPayment, settings: KeySettings): Promise<Answer | GatewayError> {
    const { record, fingerprint } = paid;
    const credit = await answerCredit(paid);
    const [prefix = ""] = parts.keys.prefixes;
    const { secret, last4 } = mintKey(prefix);
    const id = `key_${randomBytes(10).toString("hex")}`;
    const stored = { hash: hashSecret(secret, parts.keys.pepper), prefix, last4 };
    const once = { hash: sha256(`payment\n${record.id}`), fingerprint };
    const creation = await untilAnswered(() =>
      ledger.createKey(id, creditedAccount(record), stored, settings, once),
    );
    switch (creation.outcome) {
      case "conflict":
        return new GatewayError("payment_already_used");
      case "not_found":
      case "not_active":
        return new GatewayError("internal_error");
      case "created":
      case "repeated": {
        const { key } = creation;
        // The first try may have made it after all.
        if (key.id === id) return { ...keyView(key), key: secret, ...credit };
        return { ...keyView(key), ...credit, repeated: true, note: SHOWN_ONCE };
      }
    }
  }

  return ({ target }, req, body) => {
    try {
      const json = readJson(req, body);
      if (json instanceof GatewayError) return json;
      if (target.kind === "credit" && target.key) {
        const { amount, settings } = parseKeyPurchase(json, Date.now());
        const beneficiary = async () => undefined;
        return order(parts.bounds, amount, beneficiary, (paid) => answerKey(paid, settings));
      }
      const { amount } = parseTopUp(json);
      return order(parts.bounds, amount, (asked) => beneficiaryOf(parts, asked), answerCredit);
    } catch (error) {
      if (error instanceof GatewayError) return error;
      throw error;
    }
  };
}

/** Before each further try, ms: a connection that broke is made anew by then, and whoever waits is still there. */
const WAITS_MS = [0, 250, 500, 1_000, 2_000];

/** Tries on while the ledger does not say what came of it. Rejects with the last LedgerFault. */
async function untilAnswered<T>(step: () => Promise<T>): Promise<T> {
  for (const waitMs of WAITS_MS) {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof LedgerFault)) throw error;
    }
    await setTimeout(waitMs);
  }
  return step();
}

/** No body is an empty order: it is what a crawler sends to see the terms. */
function readJson({ headers }: IncomingMessage, body: Buffer): Answer | GatewayError {
  if ((headers["content-encoding"] ?? "identity") !== "identity") {
    return new GatewayError("invalid_request", { message: "The request body must not be compressed." });
  }
  return body.length === 0 ? {} : parseJsonBody(body);
}

type Order = Exclude<ReturnType<CreditDesk>, GatewayError>;

function order(
  { least, most, usual }: TopUpConfig,
  asked: MicroUsd | undefined,
  beneficiary: Order["beneficiary"],
  answer: Order["answer"],
): Order {
  const amount = asked ?? usual;
  if (amount >= least && amount <= most) return { amount, refusal: undefined, beneficiary, answer };
  const details = { currency: "USD", least: formatUsd(least), most: formatUsd(most) };
  return { amount, refusal: new GatewayError("amount_not_accepted", { details }), beneficiary, answer };
}

/** A key that is sent along must be good before anything is paid for; a first-party token names nobody who could be credited. */
async function beneficiaryOf(
  { authenticator, ledger }: CreditDeskParts,
  req: IncomingMessage,
): Promise<string | undefined | GatewayError> {
  if (!authenticator.isShown(req.headers.authorization)) return undefined;
  const caller = await authenticator.authenticate(req);
  if (caller instanceof GatewayError) return caller;
  if (caller.tier !== "key") {
    return wrongTier();
  }
  const view = await activeKey(ledger, authenticator, caller, req);
  return view instanceof GatewayError ? view : view.account.id;
}
