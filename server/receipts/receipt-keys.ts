import { createPublicKey, hash, hkdfSync, type KeyObject } from "node:crypto";
import { z } from "zod";
import type { PublicKey } from "../../well-known/key-documents.ts";
import type { Config } from "../config.ts";
import { ed25519Key } from "../ed25519.ts";

/** What one secret of `FAREBOX_RECEIPT_KEY` becomes. */
export interface ReceiptKey {
  /** Ed25519. */
  readonly privateKey: KeyObject;
  readonly published: PublicKey;
}

const KEY_BYTES = 32;
const publicJwk = z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string() });

/** Newest first: the first signs. Derived for this purpose alone, so that the same secret elsewhere is another key. */
export function deriveReceiptKeys(secrets: Config["receipts"]["keys"], did: string): readonly ReceiptKey[] {
  return secrets.map(({ key }) => {
    const privateKey = ed25519Key(Buffer.from(hkdfSync("sha256", key, "", "farebox receipt", KEY_BYTES)));
    const { x } = publicJwk.parse(createPublicKey(privateKey).export({ format: "jwk" }));
    return { privateKey, published: publicKeyOf(x, did) };
  });
}

/** A public key, `x` of its JWK, under the name that receipts give it: a DID URL that ends in its thumbprint (RFC 7638). */
export function publicKeyOf(x: string, did: string): PublicKey {
  const thumbprint = hash("sha256", JSON.stringify({ crv: "Ed25519", kty: "OKP", x }), "base64url");
  return { kid: `${did}#${thumbprint}`, x };
}

/** `did:web` of a service: its document is at `/.well-known/did.json` below the URL, or `did.json` where the URL has a path. */
export function didOf(publicUrl: string): string {
  const { host, pathname } = new URL(publicUrl);
  const path = pathname.split("/").filter((part) => part !== "");
  return ["did:web", ...[host, ...path].map(encodeURIComponent)].join(":");
}
