import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { jwkSet, MAX_JWKS_BYTES } from "./jwks.ts";

/** For checking signatures, and public: of a private one the verifier would make a key that only signs. */
const forChecking = z.object({
  use: z.literal("sig").optional(),
  key_ops: z
    .array(z.string())
    .refine((ops) => ops.includes("verify"))
    .optional(),
  d: z.undefined().optional(),
});
const onCurve = z.union([
  z.object({
    kty: z.literal("OKP"),
    crv: z.literal("Ed25519"),
    x: z.string(),
    alg: z.enum(["EdDSA", "Ed25519"]).exactOptional(),
  }),
  z.object({
    kty: z.literal("EC"),
    crv: z.literal("P-256"),
    x: z.string(),
    y: z.string(),
    alg: z.literal("ES256").exactOptional(),
  }),
]);

/** What is wrong with the file of `jwt.jwksFile` before a start; undefined: nothing. Repeats nothing of it. */
export function jwksFileProblem(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    return code === "ENOENT"
      ? "there is no such file; `farebox token new-key` makes it"
      : `cannot be read (${String(code)})`;
  }
  if (Buffer.byteLength(text) > MAX_JWKS_BYTES) return `the file is longer than ${MAX_JWKS_BYTES} bytes`;
  const parsed = jwkSet.safeParse(parseJson(text));
  if (!parsed.success) return 'the file is no JWKS, a JSON object such as {"keys": [...]}';
  return parsed.data.keys.some(isUsable)
    ? undefined
    : "the file has no public key that tokens can be checked with (Ed25519 or P-256, for signatures)";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isUsable(jwk: unknown): boolean {
  const parsed = onCurve.safeParse(jwk);
  if (!parsed.success || !forChecking.safeParse(jwk).success) return false;
  try {
    createPublicKey({ key: parsed.data, format: "jwk" });
    return true;
  } catch {
    return false;
  }
}
