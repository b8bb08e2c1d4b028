import { randomBytes } from "node:crypto";
import { GatewayError } from "../errors.ts";
import { checkPepper } from "../key-pepper.ts";
import type { KeyCreation, KeyRecord, Repeatable } from "../ledger/account-ledger.ts";
import { hashSecret, mintKey } from "../ledger/keys.ts";
import { type ActionParts, type Answer, checkRepeatKey, sha256 } from "./action-parts.ts";
import { GRACES, parse, parseKeyChange, parseKeyOrder, rotateInput } from "./inputs.ts";
import { keyView } from "./views.ts";

/** What the operator does with keys. */
export function keyActions({ ledger, prefixes, pepper, clock }: ActionParts) {
  function mint(prefix: string) {
    const { secret, last4 } = mintKey(prefix);
    return { secret, stored: { hash: hashSecret(secret, pepper), prefix, last4 } };
  }

  async function keyOf(id: string): Promise<KeyRecord> {
    const key = await ledger.key(id);
    if (key === undefined) throw new GatewayError("key_not_found");
    return key;
  }

  return {
    /** The secret is under `key`, here and never again: a repeat has null there. */
    async createKey(input: unknown, repeatKey?: string): Promise<Answer> {
      const { account, prefix = prefixes[0] ?? "", settings } = parseKeyOrder(input, clock());
      if (!prefixes.includes(prefix)) {
        throw new GatewayError("invalid_request", {
          message: `prefix: is not one of the configured ones: ${prefixes.join(", ")}`,
        });
      }
      await checkPepper(ledger, pepper);
      const { secret, stored } = mint(prefix);
      // The expiry as it was written: one that counts from now is the same request a second later.
      const expires =
        typeof input === "object" && input !== null && "expires_at" in input && input.expires_at;
      const asked = { account, prefix, ...settings, expiresAt: String(expires) };
      const id = `key_${randomBytes(10).toString("hex")}`;
      const creation = await ledger.createKey(
        id,
        account,
        stored,
        settings,
        repeatable("create", repeatKey, asked),
      );
      return creationAnswer(creation, secret, "account_not_found");
    },

    /** Of one account, or of all; newest first. */
    async listKeys(account: string | undefined): Promise<Answer> {
      if (account !== undefined && (await ledger.account(account)) === undefined) {
        throw new GatewayError("account_not_found");
      }
      return { keys: (await ledger.keys(account)).map(keyView) };
    },

    async showKey(id: string): Promise<Answer> {
      return keyView(await keyOf(id));
    },

    /** For ever. Repeating it changes nothing. */
    async revokeKey(id: string): Promise<Answer> {
      const key = await ledger.revokeKey(id);
      if (key === undefined) throw new GatewayError("key_not_found");
      return keyView(key);
    },

    /** A new secret, under `key`; the old one is good for the grace that is asked for. */
    async rotateKey(id: string, input: unknown, repeatKey?: string): Promise<Answer> {
      const { grace } = parse(rotateInput, input);
      const current = await keyOf(id);
      const prefix = prefixes.includes(current.prefix) ? current.prefix : (prefixes[0] ?? "");
      await checkPepper(ledger, pepper);
      const { secret, stored } = mint(prefix);
      const repeat = repeatable("rotate", repeatKey, { id, grace });
      const rotation = await ledger.rotateKey(id, stored, GRACES[grace], repeat);
      return creationAnswer(rotation, secret, "key_not_found");
    },

    /** Replaces the settings that are given. `key_not_active`: it is revoked; an expired one may be prolonged. */
    async changeKey(id: string, input: unknown): Promise<Answer> {
      const change = parseKeyChange(input, clock());
      if ((await keyOf(id)).status === "revoked") throw new GatewayError("key_not_active");
      const key = await ledger.changeKey(id, change);
      if (key === undefined) throw new GatewayError("key_not_found");
      return keyView(key);
    },
  };
}

function creationAnswer(
  creation: KeyCreation,
  secret: string,
  missing: "account_not_found" | "key_not_found",
): Answer {
  if (creation.outcome === "not_found") throw new GatewayError(missing);
  if (creation.outcome === "not_active") throw new GatewayError("key_not_active");
  if (creation.outcome === "conflict") throw new GatewayError("idempotency_key_reused");
  const repeated = creation.outcome === "repeated";
  const { id, ...view } = keyView(creation.key);
  return { id, key: repeated ? null : secret, repeated, ...view };
}

/** The store keeps idempotency keys by account; creations and rotations do not meet each other's. */
function repeatable(action: string, key: string | undefined, asked: Answer): Repeatable | undefined {
  checkRepeatKey(key);
  if (key === undefined) return undefined;
  const text = JSON.stringify(asked, (_, value: unknown) =>
    typeof value === "bigint" ? value.toString() : value,
  );
  return { hash: sha256(`${action}\n${key}`), fingerprint: sha256(text) };
}
