import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { OwnKeysConfig, UpstreamConfig } from "./config.ts";
import { GatewayError } from "./errors.ts";
import type { SealedProviderKey } from "./ledger/account-ledger.ts";

/**
 * Whether a stored key can be used: under the newest master key, under one that a rotation takes away (store it again before that),
 * or under none that is configured.
 */
export type ProviderKeyStatus = "active" | "outdated" | "unusable";

/** Encrypts customers' own upstream keys for the ledger, and decrypts them for a call. */
export interface ProviderKeyBox {
  /**
   * Seals under the newest master key. Throws `provider_key_unusable` if there is none, `invalid_request` for a secret that
   * could not be sent as a header.
   */
  seal(account: string, provider: string, secret: string): SealedProviderKey;
  /**
   * Undefined if it was sealed for another account or provider, its master key is not configured any more, or it was altered.
   * Never throws.
   */
  open(account: string, provider: string, sealed: SealedProviderKey): string | undefined;
  statusOf(masterKeyId: string): ProviderKeyStatus;
}

/** The upstreams that customers' own keys are accepted for. */
export function ownKeyProviders(upstreams: readonly UpstreamConfig[]): readonly string[] {
  return upstreams.filter(({ takesOwnKeys }) => takesOwnKeys).map(({ name }) => name);
}

const CIPHER = "aes-256-gcm";
const IV_BYTES = 12;
const TAG_BYTES = 16;
/** What a bearer credential can be made of; a line break here would be a header of the customer's making. */
const SECRET = /^[\x21-\x7e]{1,1024}$/;
/** Of a shorter secret the last four would give away too much. */
const MIN_CHARACTERS_TO_SHOW = 16;

/** AES-256-GCM; a sealed key is IV, ciphertext, tag. Account, provider and master key id are bound in as additional data. */
export function createProviderKeyBox(masterKeys: OwnKeysConfig["masterKeys"]): ProviderKeyBox {
  const [newest] = masterKeys;
  return {
    seal(account, provider, secret) {
      if (newest === undefined) throw new GatewayError("provider_key_unusable");
      if (!SECRET.test(secret)) {
        throw new GatewayError("invalid_request", {
          message: "A provider key has 1 to 1,024 characters, ASCII without blanks.",
        });
      }
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv(CIPHER, newest.key, iv, { authTagLength: TAG_BYTES });
      cipher.setAAD(additionalData(account, provider, newest.id));
      const encrypted = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
      return {
        masterKeyId: newest.id,
        sealed: Buffer.concat([iv, encrypted, cipher.getAuthTag()]),
        last4: secret.length < MIN_CHARACTERS_TO_SHOW ? "" : secret.slice(-4),
      };
    },
    open(account, provider, { masterKeyId, sealed }) {
      const master = masterKeys.find(({ id }) => id === masterKeyId);
      if (master === undefined || sealed.length <= IV_BYTES + TAG_BYTES) return undefined;
      try {
        const iv = sealed.subarray(0, IV_BYTES);
        const decipher = createDecipheriv(CIPHER, master.key, iv, { authTagLength: TAG_BYTES });
        decipher.setAAD(additionalData(account, provider, masterKeyId));
        decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
        const secret = decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES));
        return Buffer.concat([secret, decipher.final()]).toString("utf8");
      } catch {
        return undefined;
      }
    },
    statusOf(masterKeyId) {
      if (masterKeyId === newest?.id) return "active";
      return masterKeys.some(({ id }) => id === masterKeyId) ? "outdated" : "unusable";
    },
  };
}

/** JSON keeps the three apart whatever they contain. */
function additionalData(account: string, provider: string, masterKeyId: string): Buffer {
  return Buffer.from(JSON.stringify([account, provider, masterKeyId]));
}
