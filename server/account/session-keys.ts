import { createHmac, createPrivateKey, createPublicKey, hkdfSync, type KeyObject } from "node:crypto";
import type { Config } from "../config.ts";

/** What one secret of `FAREBOX_SESSION_KEY` becomes; a key of its own for each purpose. */
export interface SessionKey {
  /** Of the secret; the `kid` of tokens. */
  readonly id: string;
  /** Ed25519. */
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** HMAC-SHA-256 of a text, for this purpose alone. */
  mac(purpose: "nonce" | "csrf", text: string): Buffer;
}

/** DER of PKCS #8 in front of the 32 bytes of an Ed25519 private key (RFC 8410 §7). */
const ED25519_PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const KEY_BYTES = 32;

/** Newest first: the first signs, all verify. */
export function deriveSessionKeys(secrets: Config["sessionKeys"]): readonly SessionKey[] {
  return secrets.map(({ id, key }) => {
    const derive = (purpose: string) =>
      Buffer.from(hkdfSync("sha256", key, "", `farebox session: ${purpose}`, KEY_BYTES));
    const der = Buffer.concat([ED25519_PKCS8, derive("token")]);
    const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const macs = { nonce: derive("nonce"), csrf: derive("csrf") };
    return {
      id,
      privateKey,
      publicKey: createPublicKey(privateKey),
      mac: (purpose, text) => createHmac("sha256", macs[purpose]).update(text).digest(),
    };
  });
}
