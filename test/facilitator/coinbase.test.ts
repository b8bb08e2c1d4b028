import type { webcrypto } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, type JWK, type JWTVerifyResult, jwtVerify } from "jose";
import { afterEach, expect, test } from "vitest";
import { CoinbaseSetupError, createCoinbaseFacilitator } from "../../facilitator-client/coinbase.ts";
import { paymentRequest } from "./payment-request.ts";

const KEY_ID = "organizations/test/apiKeys/1";
const BASE_PATH = "/platform/v2/x402";
const limits = { verifyTimeoutMs: 5_000, settleTimeoutMs: 5_000 };

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A key pair, and its secret in the form Coinbase hands out: base64 of seed and public key. */
async function cdpKey() {
  const pair = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { d = "", x = "" }: JWK = await exportJWK(pair.privateKey);
  const keySecret = Buffer.concat([Buffer.from(d, "base64url"), Buffer.from(x, "base64url")]).toString(
    "base64",
  );
  return { publicKey: pair.publicKey, keySecret };
}

/** Answers 401 unless the token was signed by the key, is fresh, and is for exactly this method, host and path. */
async function coinbaseStub(publicKey: webcrypto.CryptoKey) {
  const tokens: JWTVerifyResult[] = [];
  async function isAuthorised(req: IncomingMessage): Promise<boolean> {
    const token = /^Bearer (.+)$/.exec(req.headers.authorization ?? "")?.[1] ?? "";
    const verified = await jwtVerify(token, publicKey, {
      algorithms: ["EdDSA"],
      issuer: "cdp",
      subject: KEY_ID,
      maxTokenAge: "120s",
      requiredClaims: ["exp", "nbf", "uris"],
    }).catch(() => undefined);
    if (verified === undefined) return false;
    tokens.push(verified);
    const { uris } = verified.payload;
    return Array.isArray(uris) && uris[0] === `${req.method} ${req.headers.host}${req.url}`;
  }
  const server = createServer(async (req, res) => {
    const authorised = await isAuthorised(req);
    const answers: Record<string, unknown> = {
      [`POST ${BASE_PATH}/verify`]: { isValid: true, payer: "P" },
      [`POST ${BASE_PATH}/settle`]: { success: true, transaction: "5".repeat(88), network: "solana" },
      [`GET ${BASE_PATH}/supported`]: { kinds: [] },
    };
    res.writeHead(authorised ? 200 : 401, { "content-type": "application/json" });
    res.end(JSON.stringify(authorised ? answers[`${req.method} ${req.url}`] : { errorType: "unauthorized" }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}${BASE_PATH}`, tokens };
}

test("each call carries its own token, which the stub accepts for that call only", async () => {
  const { publicKey, keySecret } = await cdpKey();
  const stub = await coinbaseStub(publicKey);
  const facilitator = await createCoinbaseFacilitator({ keyId: KEY_ID, keySecret, url: stub.url, ...limits });
  cleanups.push(() => facilitator.close());
  expect(facilitator.name).toBe("coinbase");
  expect(await facilitator.supported()).toEqual({ outcome: "ok", kinds: [] });
  expect(await facilitator.verify(paymentRequest())).toEqual({ outcome: "ok", payer: "P" });
  expect(await facilitator.settle(paymentRequest())).toMatchObject({ outcome: "ok", network: "solana" });
  expect(stub.tokens.map(({ payload }) => payload.uris)).toEqual(
    ["GET supported", "POST verify", "POST settle"].map((call) => {
      const [method, operation] = call.split(" ");
      return [`${method} ${new URL(stub.url).host}${BASE_PATH}/${operation}`];
    }),
  );
  expect(new Set(stub.tokens.map(({ protectedHeader }) => protectedHeader.nonce)).size).toBe(3);
});

test("a key that Coinbase does not know: verify and settle were not handled", async () => {
  const [known, other] = await Promise.all([cdpKey(), cdpKey()]);
  const stub = await coinbaseStub(known.publicKey);
  const facilitator = await createCoinbaseFacilitator({
    keyId: KEY_ID,
    keySecret: other.keySecret,
    url: stub.url,
    ...limits,
  });
  cleanups.push(() => facilitator.close());
  const expected = { outcome: "not_sent", reason: "http_401" };
  expect(await facilitator.verify(paymentRequest())).toEqual(expected);
  expect(await facilitator.settle(paymentRequest())).toEqual(expected);
  expect(await facilitator.supported()).toEqual({ outcome: "failed", reason: "http_401" });
});

test.each([
  ["no id", { keyId: undefined, keySecret: "x" }, /CDP_API_KEY_ID/],
  ["an empty id", { keyId: "", keySecret: "x" }, /CDP_API_KEY_ID/],
  ["no secret", { keyId: KEY_ID, keySecret: undefined }, /CDP_API_KEY_SECRET/],
  ["a secret that is no key", { keyId: KEY_ID, keySecret: "not-a-key" }, /CDP_API_KEY_SECRET/],
])("%s refuses to start", async (_name, credentials, message) => {
  const error = await createCoinbaseFacilitator({ ...credentials, ...limits }).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(CoinbaseSetupError);
  expect((error as Error).message).toMatch(message);
  expect((error as Error).message).not.toContain("not-a-key");
});

test("by default it is Coinbase's own address", async () => {
  const { keySecret } = await cdpKey();
  const coinbase = await import("@coinbase/x402");
  expect(coinbase.createFacilitatorConfig(KEY_ID, keySecret).url).toBe(
    `https://api.cdp.coinbase.com${BASE_PATH}`,
  );
  const facilitator = await createCoinbaseFacilitator({ keyId: KEY_ID, keySecret, ...limits });
  await facilitator.close();
});
