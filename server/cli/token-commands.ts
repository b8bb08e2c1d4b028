import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import {
  generateSigningKey,
  issueToken,
  MAX_TOKEN_SECONDS,
  readSigningKey,
  type SigningKey,
} from "../auth/issue-token.ts";
import type { Config, JwtConfig } from "../config.ts";
import { duration } from "../config-values.ts";
import { makeDirectory } from "../data-directory.ts";
import { GatewayError } from "../errors.ts";
import type { Command, Invocation } from "./command.ts";
import { print, printJson, refuse, USAGE_ERROR } from "./output.ts";
import { load } from "./store.ts";

/** First-party tokens and the keys that sign them. Neither needs the ledger, so they may be made anywhere. */
export const tokenCommands: Readonly<Record<string, Command>> = {
  token: {
    usage: "token --account A [--private-key FILE] [--ttl 5m] [--subject S]",
    summary: "Issue a first-party token that this configuration accepts.",
    details: [
      "The private key is a JWK or PKCS #8 PEM, Ed25519 or P-256; default: jwt-private-key.json in the data directory.",
      "--ttl is at most 15m. With jwt.billing: free no account is needed.",
    ],
    arity: [0, 0],
    flags: ["account", "private-key", "ttl", "subject"],
    run: (invocation) => withJwt("token", invocation, issue),
  },
  "token new-key": {
    usage: "token new-key [--private-key FILE]",
    summary: "Make a private key for tokens, and add its public key to jwt.jwksFile.",
    details: ["An existing file is never overwritten. Keys that are in the JWKS file stay there."],
    arity: [0, 0],
    flags: ["private-key"],
    run: (invocation) => withJwt("token new-key", invocation, newKey),
  },
};

async function issue(invocation: Invocation, config: Config, jwt: JwtConfig): Promise<number> {
  const { account, subject, ttl = "5m" } = invocation.flags;
  const life = duration("1s", `${MAX_TOKEN_SECONDS}s`).safeParse(ttl);
  if (!life.success) throw invalid(`--ttl: ${life.error.issues[0]?.message ?? "write a duration"}`);
  if (account === undefined && jwt.billing === "account") throw invalid("--account is missing");
  const now = Date.now();
  const ttlSeconds = Math.floor(life.data / 1_000);
  const signingKey = await readKey(keyPath(invocation, config));
  const token = await issueToken({ ...jwt, signingKey, account, subject, ttlSeconds, now });
  if (!invocation.json) return print(token);
  const expiresAt = (Math.floor(now / 1_000) + ttlSeconds) * 1_000;
  return printJson({ token, account: account ?? null, expires_at: new Date(expiresAt).toISOString() });
}

async function readKey(path: string): Promise<SigningKey> {
  try {
    return await readSigningKey(path);
  } catch (error) {
    const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (!isMissing) throw error;
    throw invalid(
      `there is no private key at ${path}; name it with --private-key, or make one: token new-key`,
    );
  }
}

async function newKey(invocation: Invocation, config: Config, jwt: JwtConfig): Promise<number> {
  if (jwt.jwksFile === undefined)
    throw invalid("jwt.jwksFile is not set: there is no file for the public key");
  const path = keyPath(invocation, config);
  // It may be the data directory, which is its owner's alone.
  makeDirectory(dirname(path));
  if (existsSync(path))
    throw new Error(`there is a private key at ${path}; name another file with --private-key`);
  const { kid } = await generateSigningKey(path, jwt.jwksFile);
  if (invocation.json) return printJson({ kid, private_key: path, jwks: jwt.jwksFile });
  return print(`private key  ${path}\nJWKS         ${jwt.jwksFile}\nkid          ${kid}`);
}

function keyPath({ flags }: Invocation, config: Config): string {
  const given = flags["private-key"];
  return given === undefined ? join(config.dataDir, "jwt-private-key.json") : resolve(given);
}

async function withJwt(
  name: string,
  invocation: Invocation,
  run: (invocation: Invocation, config: Config, jwt: JwtConfig) => Promise<number>,
): Promise<number> {
  const config = load(invocation);
  if (config === undefined) return USAGE_ERROR;
  try {
    if (config.jwt === undefined) throw invalid("jwt: is not configured");
    return await run(invocation, config, config.jwt);
  } catch (error) {
    return refuse(name, error, invocation.json);
  }
}

function invalid(message: string): GatewayError {
  return new GatewayError("invalid_request", { message });
}
