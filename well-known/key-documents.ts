import type { JsonObject } from "./types.ts";

/** A public Ed25519 key. */
export interface PublicKey {
  /** Its DID URL, as signatures name it. */
  readonly kid: string;
  /** `x` of the JWK (RFC 8037 §2): 32 bytes, base64url. */
  readonly x: string;
}

/** The JSON Web Key Set (RFC 7517 §5) of keys that sign. */
export function jwkSet(keys: readonly PublicKey[]): JsonObject {
  return { keys: keys.map(({ kid, x }) => ({ ...publicJwk(x), kid, alg: "EdDSA", use: "sig" })) };
}

/** The DID document (W3C DID Core §5) that says that these keys sign for the service. `did` is its `did:web`. */
export function didDocument(did: string, keys: readonly PublicKey[]): JsonObject {
  return {
    "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"],
    id: did,
    verificationMethod: keys.map(({ kid, x }) => ({
      id: kid,
      type: "JsonWebKey2020",
      controller: did,
      publicKeyJwk: publicJwk(x),
    })),
    assertionMethod: keys.map(({ kid }) => kid),
  };
}

function publicJwk(x: string): JsonObject {
  return { kty: "OKP", crv: "Ed25519", x };
}
