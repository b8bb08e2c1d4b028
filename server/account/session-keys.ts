import { createHmac, createPublicKey, hkdfSync, type KeyObject } from "node:crypto";
import type { Config } from "../config.ts";
import { ed25519Key } from "../ed25519.ts";

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

const KEY_BYTES = 32;

/** Newest first: the first signs, all verify. */
export function deriveSessionKeys(secrets: Config["sessionKeys"]): readonly SessionKey[] {
  return secrets.map(({ id, key }) => {
    const derive = (purpose: string) =>
      Buffer.from(hkdfSync("sha256", key, "", `farebox session: ${purpose}`, KEY_BYTES));
    const privateKey = ed25519Key(derive("token"));
    const macs = { nonce: derive("nonce"), csrf: derive("csrf") };
    return {
      id,
      privateKey,
      publicKey: createPublicKey(privateKey),
      mac: (purpose, text) => createHmac("sha256", macs[purpose]).update(text).digest(),
    };
  });
}
