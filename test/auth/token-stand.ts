import { createServer } from "node:http";
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  SignJWT,
} from "jose";
import type { JwtConfig } from "../../server/config.ts";
import { listen } from "../client/listen.ts";

export const SETTINGS: JwtConfig = {
  jwksUrl: undefined,
  jwksFile: undefined,
  issuer: "https://first-party.example",
  audience: "farebox",
  typ: "farebox+jwt",
  billing: "account",
  accountClaim: "account",
};

export interface Signer {
  readonly privateKey: CryptoKey;
  /** The public key, as a JWKS holds it. */
  readonly jwk: JWK;
}

export async function createSigner(
  kid: string,
  alg: "EdDSA" | "ES256" | "RS256" | "ES384" = "EdDSA",
): Promise<Signer> {
  const pair = await generateKeyPair(alg, { extractable: true });
  return { privateKey: pair.privateKey, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg, use: "sig" } };
}

/** A good token, except for what is said. A claim or header of undefined is left out. */
export function sign(
  signer: Signer,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1_000);
  const good = {
    iss: SETTINGS.issuer,
    aud: SETTINGS.audience,
    iat: now,
    exp: now + 300,
    sub: "console",
    account: "acct_1",
  };
  const { alg, kid } = signer.jwk;
  return new SignJWT({ ...good, ...claims })
    .setProtectedHeader({ alg, kid, typ: SETTINGS.typ, ...header } as JWTHeaderParameters)
    .sign(signer.privateKey);
}

export interface JwksServer {
  readonly url: string;
  /** Requests so far. */
  readonly asked: () => number;
  answer(status: number, body: string): void;
  /** Whether requests are left without an answer. */
  hang(on: boolean): void;
  close(): Promise<void>;
}

export async function openJwksServer(keys: readonly JWK[]): Promise<JwksServer> {
  let reply = { status: 200, body: JSON.stringify({ keys }) };
  let hanging = false;
  let asked = 0;
  const server = createServer((_req, res) => {
    asked += 1;
    if (hanging) return;
    const location = reply.status === 302 ? { location: "/elsewhere" } : {};
    res.writeHead(reply.status, { "content-type": "application/jwk-set+json", ...location });
    res.end(reply.body);
  });
  const { url, close } = await listen(server);
  return {
    url: `${url}/jwks.json`,
    asked: () => asked,
    answer: (status, body) => {
      reply = { status, body };
    },
    hang: (on) => {
      hanging = on;
    },
    close,
  };
}
