import type * as SignInWithX from "@x402/extensions/sign-in-with-x";
import type { SessionLedger } from "../ledger/session-ledger.ts";
import { issueTimeOf, newNonce } from "./nonce.ts";
import type { SessionKey } from "./session-keys.ts";

/** What the x402 extension's package does for us: the header, the message's text (CAIP-122), the ed25519 signature. */
export type SignInLibrary = Pick<
  typeof SignInWithX,
  "SIWxPayloadSchema" | "parseSIWxHeader" | "createSIWxMessage" | "verifySIWxSignature"
>;

export interface SignInParts {
  readonly library: SignInLibrary;
  readonly ledger: Pick<SessionLedger, "useOnce">;
  /** Newest first. */
  readonly keys: readonly SessionKey[];
  /** Its host is the message's domain; never taken from the request. */
  readonly publicUrl: string;
  /** CAIP-2. */
  readonly chainId: string;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** What a wallet is to sign. */
export interface Challenge {
  /** The fields of the message; with `address` and `signature` they are the proof. */
  readonly info: Readonly<Record<string, string>>;
  /** The text to sign, as UTF-8. */
  readonly message: string;
  readonly nonce: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** Why a proof is refused; stable, for the caller. */
export type ProofRefusal =
  | "malformed"
  | "wrong_domain"
  | "wrong_uri"
  | "wrong_chain"
  /** Some other field is not as we asked it to be signed. */
  | "altered"
  | "foreign_nonce"
  | "expired"
  | "not_yet_valid"
  | "wrong_signature"
  | "used_nonce";

export type Proof = { readonly address: string } | { readonly refused: ProofRefusal };

/** How long a challenge may be signed and sent. */
const CHALLENGE_MS = 300_000;
/** Gateways' clocks may differ by this much. */
const CLOCK_SKEW_MS = 30_000;
/** A nonce is remembered longer than any gateway's clock accepts it. */
const REMEMBERED_MS = CHALLENGE_MS + 4 * CLOCK_SKEW_MS;

export type SignIn = ReturnType<typeof createSignIn>;

/**
 * Sign-in by wallet: `sign-in-with-x` of x402, CAIP-122, Solana. The package's own check of messages would take any URI of our
 * origin, any statement, any nonce and no clock that runs ahead, and it takes EVM chains; so it is asked for the text and the
 * signature alone.
 */
export function createSignIn(parts: SignInParts) {
  const { library, ledger, keys, clock } = parts;
  const expected = createExpectation(parts);

  async function verify(proof: SignInWithX.SIWxPayload): Promise<Proof> {
    const refused = expected.refusalOf(proof);
    if (refused !== undefined) return { refused };
    const verified = await library.verifySIWxSignature(proof);
    if (!verified.isValid) return { refused: "wrong_signature" };
    // Last: only a wallet's own proof uses a nonce up, and nobody else can make us write.
    const use = await ledger.useOnce(proof.address, proof.nonce, REMEMBERED_MS);
    return use === "first" ? { address: proof.address } : { refused: "used_nonce" };
  }

  return {
    /** Stores nothing. `address` is a Solana address. */
    challenge(address: string): Challenge {
      const issuedAt = clock();
      const nonce = newNonce(keys, issuedAt, address);
      const info = expected.fieldsOf(nonce, issuedAt);
      const message = library.createSIWxMessage(info, address);
      return { info, message, nonce, expiresAt: issuedAt + CHALLENGE_MS };
    },

    /** A proof as JSON: the challenge's `info`, `address` and `signature`. Rejects only with `LedgerFault`. */
    async verify(input: unknown): Promise<Proof> {
      const parsed = library.SIWxPayloadSchema.safeParse(input);
      return parsed.success ? verify(parsed.data) : { refused: "malformed" };
    },

    /** A `SIGN-IN-WITH-X` header: base64 of the same. Rejects only with `LedgerFault`. */
    async verifyHeader(header: string): Promise<Proof> {
      let proof: SignInWithX.SIWxPayload;
      try {
        proof = library.parseSIWxHeader(header);
      } catch {
        return { refused: "malformed" };
      }
      return verify(proof);
    },
  };
}

/** The message is wholly ours: each field must be what our settings and the nonce's time make it. */
function createExpectation({ publicUrl, chainId, keys, clock }: SignInParts) {
  const domain = new URL(publicUrl).host;
  const fixed = {
    domain,
    uri: `${publicUrl}/account`,
    statement: `Sign in to your account at ${domain}. This moves no money.`,
    version: "1",
    chainId,
    type: "ed25519" as const,
  };

  function fieldsOf(nonce: string, issuedAt: number) {
    return {
      ...fixed,
      nonce,
      issuedAt: new Date(issuedAt).toISOString(),
      expirationTime: new Date(issuedAt + CHALLENGE_MS).toISOString(),
    };
  }

  return {
    fieldsOf,

    /** Everything that can be said before the signature is looked at. */
    refusalOf(proof: SignInWithX.SIWxPayload): ProofRefusal | undefined {
      if (proof.domain !== fixed.domain) return "wrong_domain";
      if (proof.uri !== fixed.uri) return "wrong_uri";
      if (proof.chainId !== fixed.chainId || proof.type !== fixed.type) return "wrong_chain";
      const issuedAt = issueTimeOf(keys, proof.nonce, proof.address);
      if (issuedAt === undefined) return "foreign_nonce";
      const fields = fieldsOf(proof.nonce, issuedAt);
      const isAsIssued =
        proof.version === fields.version &&
        proof.statement === fields.statement &&
        proof.issuedAt === fields.issuedAt &&
        proof.expirationTime === fields.expirationTime &&
        proof.notBefore === undefined &&
        proof.requestId === undefined &&
        proof.resources === undefined;
      if (!isAsIssued) return "altered";
      const now = clock();
      if (now >= issuedAt + CHALLENGE_MS) return "expired";
      return now < issuedAt - CLOCK_SKEW_MS ? "not_yet_valid" : undefined;
    },
  };
}
