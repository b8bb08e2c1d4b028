import { readFile, stat } from "node:fs/promises";
import {
  type CompactJWSHeaderParameters,
  type CryptoKey,
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type FetchImplementation,
  type FlattenedJWSInput,
} from "jose";
import { z } from "zod";
import type { JwtConfig } from "../config.ts";

/**
 * The public key that a token names. Rejects with `JWKSNoMatchingKey` or `JWKSMultipleMatchingKeys` if it names none, or does
 * not say which; with {@link JwksUnavailable} if that cannot be known now.
 */
export type FindKey = (header: CompactJWSHeaderParameters, token: FlattenedJWSInput) => Promise<CryptoKey>;

/** The key set cannot be read: unreachable, not a JWKS, or the key in it cannot be used. */
export class JwksUnavailable extends Error {
  constructor(cause: unknown) {
    super("the JWKS cannot be read", { cause });
    this.name = "JwksUnavailable";
  }
}

export interface JwksOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Until the key set's last byte, ms. */
  readonly timeoutMs: number;
  /** An unknown `kid` asks again this long after the last answer at the earliest, ms. */
  readonly cooldownMs: number;
  /** A removed key is refused after this long at the latest, ms. A URL only: a file is looked at every {@link retryMs}. */
  readonly maxAgeMs: number;
  /** After a failure, and between two looks at a file, ms. */
  readonly retryMs: number;
}

/** Key sets are a few KiB; a longer one is none. */
export const MAX_JWKS_BYTES = 262_144;
/** The least that a key set is. */
export const jwkSet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })) });

/** Keys by `kid` from a URL or a file. What `jose` selects fits `alg`, `use`, `key_ops` and the curve. */
export function createFindKey(
  config: Pick<JwtConfig, "jwksUrl" | "jwksFile">,
  options: JwksOptions,
): FindKey {
  const find =
    config.jwksUrl === undefined
      ? fromFile(config.jwksFile ?? "", options)
      : fromUrl(config.jwksUrl, options);
  return async (header, token) => {
    try {
      return await find(header, token);
    } catch (error) {
      const isAnswer =
        error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys;
      throw isAnswer ? error : new JwksUnavailable(error);
    }
  };
}

/**
 * `jose` asks anew for every token while there is no answer; here a failure stands for a while. And its set would stay fresh until a clock
 * that was set back has caught up: a removed key would be accepted, and a new one unknown, for all that time. So its age is told here.
 */
function fromUrl(url: string, { now, timeoutMs, cooldownMs, maxAgeMs, retryMs }: JwksOptions): FindKey {
  let failed: { readonly at: number; readonly error: unknown } | undefined;
  let readAt = Number.NEGATIVE_INFINITY;
  const fetchOnce: FetchImplementation = async (href, init) => {
    if (failed !== undefined && isWithin(retryMs, failed.at, now())) throw failed.error;
    try {
      const answer = await readBounded(await fetch(href, init));
      failed = undefined;
      readAt = now();
      return answer;
    } catch (error) {
      failed = { at: now(), error };
      throw error;
    }
  };
  const keys = createRemoteJWKSet(new URL(url), {
    timeoutDuration: timeoutMs,
    cooldownDuration: Number.POSITIVE_INFINITY,
    cacheMaxAge: Number.POSITIVE_INFINITY,
    [customFetch]: fetchOnce,
  });
  return async (header, token) => {
    if (!isWithin(maxAgeMs, readAt, now())) await keys.reload();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || isWithin(cooldownMs, readAt, now())) throw error;
      await keys.reload();
      return keys(header, token);
    }
  };
}

async function readBounded(response: Response): Promise<Response> {
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the JWKS URL answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_JWKS_BYTES) throw new Error("the JWKS is too long");
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  createLocalJWKSet(jwkSet.parse(JSON.parse(text)));
  return new Response(text);
}

/** Fails closed: while the file is gone or half written no token is accepted, a key that it held before included. */
function fromFile(path: string, { now, retryMs }: JwksOptions): FindKey {
  let keys: ReturnType<typeof createLocalJWKSet> | undefined;
  let version = "";
  let checkedAt = Number.NEGATIVE_INFINITY;
  let failure: unknown;
  let checking: Promise<void> | undefined;

  async function read(): Promise<void> {
    checkedAt = now();
    try {
      const { mtimeMs, size, ino } = await stat(path);
      const found = `${mtimeMs} ${size} ${ino}`;
      if (keys !== undefined && found === version) return;
      keys = undefined;
      if (size > MAX_JWKS_BYTES) throw new Error("the JWKS is too long");
      keys = createLocalJWKSet(jwkSet.parse(JSON.parse(await readFile(path, "utf8"))));
      version = found;
    } catch (error) {
      keys = undefined;
      failure = error;
    }
  }

  return async (header, token) => {
    if (!isWithin(retryMs, checkedAt, now())) {
      checking ??= read().finally(() => {
        checking = undefined;
      });
    }
    await checking;
    if (keys === undefined) throw failure;
    return keys(header, token);
  };
}

/** Either way: a clock that is set back must not silence the question for long. */
export function isWithin(ms: number, at: number, now: number): boolean {
  return Math.abs(now - at) < ms;
}
