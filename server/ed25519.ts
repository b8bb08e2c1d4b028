import { createPrivateKey, type KeyObject } from "node:crypto";

/** DER of PKCS #8 in front of the 32 bytes of an Ed25519 private key (RFC 8410 §7). */
const ED25519_PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

/** The Ed25519 key that these 32 bytes are. Throws for any other number of bytes. */
export function ed25519Key(seed: Buffer): KeyObject {
  return createPrivateKey({ key: Buffer.concat([ED25519_PKCS8, seed]), format: "der", type: "pkcs8" });
}
