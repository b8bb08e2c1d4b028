import type { KeyPairSigner } from "@solana/kit";
import {
  createSIWxMessage,
  createSIWxPayload,
  encodeBase58,
  encodeSIWxHeader,
  type SIWxPayload,
} from "@x402/extensions/sign-in-with-x";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openRedis } from "../ledger/open-redis.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import {
  type AccountWorld,
  type Gate,
  newWallet,
  OLD_SESSION_KEY,
  openAccountWorld,
  PUBLIC_URL,
  refusal,
  SESSION_KEY,
} from "./account-world.ts";

let world: AccountWorld;
let wallet: KeyPairSigner;
beforeAll(async () => {
  world = await openAccountWorld();
  wallet = await newWallet();
});
afterAll(() => world.close());

const verify = (gate: Gate, proof: unknown) => gate.call("POST", "/auth/verify", { body: proof });
const refused = (reason: string) => [401, "sign_in_refused", reason];

/** The wallet signs whatever it is shown, as the official client builds it. */
async function signed(fields: Record<string, unknown>, by: KeyPairSigner = wallet): Promise<SIWxPayload> {
  return createSIWxPayload(fields as never, by as never, new URL(String(fields["uri"])).origin);
}

test("a challenge is a CAIP-122 message for this service, this chain and five minutes", async () => {
  const before = Date.now();
  const { info, message, nonce, expires_at } = await world.gate.challenge(wallet);
  expect(info).toEqual({
    domain: "shop.example.com",
    uri: `${PUBLIC_URL}/account`,
    statement: "Sign in to your account at shop.example.com. This moves no money.",
    version: "1",
    chainId: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    type: "ed25519",
    nonce,
    issuedAt: expect.any(String),
    expirationTime: expires_at,
  });
  expect(Date.parse(expires_at) - Date.parse(info["issuedAt"] ?? "")).toBe(300_000);
  expect(Date.parse(expires_at)).toBeGreaterThanOrEqual(before + 300_000);
  expect(message).toBe(createSIWxMessage(info as never, wallet.address));
  expect(message.split("\n").slice(0, 2)).toEqual([
    "shop.example.com wants you to sign in with your Solana account:",
    wallet.address,
  ]);
  expect((await world.gate.challenge(wallet)).nonce).not.toBe(nonce);
});

test("what the official client signs opens a session, and a header one request", async () => {
  const { account } = await world.gate.signIn(wallet);
  expect(account).toBe(`wallet:${wallet.address}`);
  const headers = await world.gate.header(wallet);
  const reply = await world.gate.call("GET", "/account", { headers });
  expect([reply.status, reply.json["wallet"]]).toEqual([200, wallet.address]);
  expect(reply.headers.getSetCookie()).toEqual([]);
});

test.each([
  ["a wrong domain", { domain: "shop.example.org" }, "wrong_domain"],
  ["a domain that only begins right", { domain: "shop.example.com.evil.example" }, "wrong_domain"],
  ["the domain with a port", { domain: "shop.example.com:443" }, "wrong_domain"],
  ["a wrong URI", { uri: "https://evil.example/account" }, "wrong_uri"],
  ["another URI of ours", { uri: `${PUBLIC_URL}/agent` }, "wrong_uri"],
  ["the URI over plain http", { uri: "http://shop.example.com/account" }, "wrong_uri"],
  ["a URI with a query", { uri: `${PUBLIC_URL}/account?x` }, "wrong_uri"],
  ["the development chain", { chainId: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1" }, "wrong_chain"],
  ["no chain in particular", { chainId: "solana:" }, "wrong_chain"],
  ["another statement", { statement: "Sign in." }, "altered"],
  ["no statement", { statement: undefined }, "altered"],
  ["another version", { version: "2" }, "altered"],
  ["a later issue", { issuedAt: "2999-01-01T00:00:00.000Z" }, "altered"],
  ["a longer life", { expirationTime: "2999-01-01T00:00:00.000Z" }, "altered"],
  ["no end", { expirationTime: undefined }, "altered"],
  ["a beginning", { notBefore: "2020-01-01T00:00:00.000Z" }, "altered"],
  ["a request id", { requestId: "1" }, "altered"],
  ["resources", { resources: [`${PUBLIC_URL}/account`] }, "altered"],
  ["a nonce of one's own", { nonce: "0123456789abcdef0123456789abcdef" }, "foreign_nonce"],
])("a message with %s is refused though the wallet signed it so", async (_, change, reason) => {
  const { info } = await world.gate.challenge(wallet);
  const proof = await signed({ ...info, ...change }).catch(() => signed(info));
  const sent = { ...proof, ...change };
  expect(refusal(await verify(world.gate, sent))).toEqual(refused(reason));
  const headers = { "sign-in-with-x": encodeSIWxHeader(sent) };
  const reply = await world.gate.call("GET", "/account", { headers });
  expect(refusal(reply)).toEqual(refused(reason));
  expect(reply.headers.getSetCookie()).toEqual([]);
});

test("a challenge is for one wallet: any number of new ones would sign in on it", async () => {
  const { info } = await world.gate.challenge(wallet);
  const proof = await signed(info, await newWallet());
  expect(refusal(await verify(world.gate, proof))).toEqual(refused("foreign_nonce"));
  expect((await verify(world.gate, await signed(info))).status).toBe(200);
});

test("an Ethereum wallet's proof is refused", async () => {
  const { info } = await world.gate.challenge(wallet);
  const proof = {
    ...info,
    address: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    chainId: "eip155:1",
    type: "eip191",
    signature: `0x${"00".repeat(65)}`,
  };
  expect(refusal(await verify(world.gate, proof))).toEqual(refused("wrong_chain"));
  const disguised = { ...proof, chainId: info["chainId"], type: "eip191" };
  expect(refusal(await verify(world.gate, disguised))).toEqual(refused("wrong_chain"));
});

test("another wallet's signature, and one's own under another's name, are refused", async () => {
  const [thief, victim] = [await newWallet(), await newWallet()];
  const proof = await world.gate.proof(thief);
  expect(refusal(await verify(world.gate, { ...proof, address: victim.address }))).toEqual(
    refused("foreign_nonce"),
  );
  const { signature } = await world.gate.proof(thief);
  expect(refusal(await verify(world.gate, { ...(await world.gate.proof(victim)), signature }))).toEqual(
    refused("wrong_signature"),
  );
  // It has used nothing up.
  expect((await verify(world.gate, proof)).status).toBe(200);
});

test.each([
  ["nothing", ""],
  ["words", "not base58!"],
  ["too short", "1111"],
  ["too long", "1".repeat(80)],
  ["zeros", "1".repeat(64)],
])("a signature that is %s is refused", async (_, signature) => {
  const proof = await world.gate.proof(wallet);
  expect(refusal(await verify(world.gate, { ...proof, signature }))).toEqual(refused("wrong_signature"));
});

test("a key of small order, for which a signature fits everything, is refused", async () => {
  // A and R the neutral element, s = 0: then sB = R + hA whatever the message.
  const neutral = (length: number) => encodeBase58(Uint8Array.from({ length }, (__, at) => Number(at === 0)));
  const identity = { address: neutral(32), signature: neutral(64) };
  const { json } = await world.gate.call("POST", "/auth/challenge", { body: { address: identity.address } });
  const proof = { ...Object(json["info"]), ...identity };
  expect(refusal(await verify(world.gate, proof))).toEqual(refused("wrong_signature"));
});

test.each([
  ["no object", "[]"],
  ["a missing field", '{"domain":"shop.example.com"}'],
  ["a number", '{"domain":1}'],
])("a body that is %s is refused", async (_, body) => {
  expect(refusal(await verify(world.gate, body))).toEqual(refused("malformed"));
});

test.each(["", "x", "e30=", "bm90IGpzb24=", "W10=", "%", "a".repeat(4_000)])(
  "the header %s is refused",
  async (header) => {
    const reply = await world.gate.call("GET", "/account", { headers: { "sign-in-with-x": header } });
    expect(refusal(reply)).toEqual(refused("malformed"));
  },
);

test("a challenge is for a Solana address", async () => {
  for (const address of ["", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "l".repeat(40), "1", 7]) {
    const reply = await world.gate.call("POST", "/auth/challenge", { body: { address } });
    expect(refusal(reply).slice(0, 2)).toEqual([400, "invalid_request"]);
    if (address !== "" && typeof address === "string") expect(reply.text).not.toContain(address.repeat(2));
  }
});

describe("time", () => {
  const at = (ms: number) => world.open({}, () => Date.now() + ms);

  test.each([
    [299_000, 200],
    [301_000, 401],
    [86_400_000, 401],
  ])("a challenge of %i ms ago: %i", async (age, status) => {
    const reply = await verify(world.gate, await (await at(-age)).proof(wallet));
    expect(reply.status).toBe(status);
    if (status === 401) expect(refusal(reply)).toEqual(refused("expired"));
  });

  test.each([
    [29_000, 200],
    [31_000, 401],
  ])("a challenge of a gateway whose clock is %i ms ahead: %i", async (ahead, status) => {
    const reply = await verify(world.gate, await (await at(ahead)).proof(wallet));
    expect(reply.status).toBe(status);
    if (status === 401) expect(refusal(reply)).toEqual(refused("not_yet_valid"));
  });
});

describe("secrets", () => {
  test("a nonce of another service's secret is foreign; one of the secret before is good", async () => {
    const before = await world.open({ FAREBOX_SESSION_KEY: OLD_SESSION_KEY });
    const both = await world.open({ FAREBOX_SESSION_KEY: `${SESSION_KEY},${OLD_SESSION_KEY}` });
    const proof = await before.proof(wallet);
    expect(refusal(await verify(world.gate, proof))).toEqual(refused("foreign_nonce"));
    expect((await verify(both, proof)).status).toBe(200);
    expect((await verify(world.gate, await both.proof(wallet))).status).toBe(200);
  });

  test("a nonce's parts cannot be recombined", async () => {
    const [one, other] = [await world.gate.challenge(wallet), await world.gate.challenge(wallet)];
    const nonces = [
      one.nonce.slice(0, -32) + other.nonce.slice(-32),
      `${"f".repeat(12)}${one.nonce.slice(12)}`,
      one.nonce.toUpperCase(),
      `${one.nonce}00`,
      one.nonce.slice(0, -2),
    ].filter((nonce) => nonce !== one.nonce);
    for (const nonce of nonces) {
      const proof = await signed({ ...one.info, nonce });
      expect(refusal(await verify(world.gate, proof))).toEqual(refused("foreign_nonce"));
    }
  });
});

describe.each(["SQLite", "Redis"])("a nonce, gateways on one ledger in %s", (store) => {
  let redis: RedisServer | undefined;
  let shared: AccountWorld;
  beforeAll(async () => {
    redis = store === "Redis" ? await startRedis() : undefined;
    shared = await openAccountWorld(redis && (await openRedis(redis.url)));
  });
  afterAll(async () => {
    await shared.close();
    await redis?.stop();
  });

  test("is used once, whether by session or header, on whichever gateway", async () => {
    const [first, second] = [shared.gate, await shared.open()];
    const proof = await first.proof(wallet);
    const headers = { "sign-in-with-x": encodeSIWxHeader(proof) };
    expect((await second.call("GET", "/account", { headers })).status).toBe(200);
    for (const gate of [first, second]) {
      expect(refusal(await gate.call("GET", "/account", { headers }))).toEqual(refused("used_nonce"));
      expect(refusal(await verify(gate, proof))).toEqual(refused("used_nonce"));
    }
  });

  test("opens one session of 10 that are asked for at once", async () => {
    const gates = [shared.gate, await shared.open()];
    const proof = await shared.gate.proof(wallet);
    const replies = await Promise.all(
      Array.from({ length: 10 }, (_, index) => verify(gates[index % 2] ?? shared.gate, proof)),
    );
    expect(replies.map(({ status }) => status).toSorted()).toEqual([200, ...Array(9).fill(401)]);
    expect(replies.flatMap(({ headers }) => headers.getSetCookie())).toHaveLength(2);
  });
});

describe("a flood", () => {
  test("of challenges is held off, with a time to come back", async () => {
    const flooded = await openFlooded();
    for (let count = 0; count < 3; count += 1) await flooded.challenge(wallet);
    const reply = await flooded.call("POST", "/auth/challenge", { body: { address: wallet.address } });
    expect(refusal(reply).slice(0, 2)).toEqual([429, "rate_limit_exceeded"]);
    expect(Number(reply.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  test("of bad proofs is held off unheard, also where a good one is among them", async () => {
    const flooded = await openFlooded();
    const good = await world.gate.proof(wallet);
    const bad = { ...good, signature: "1".repeat(64) };
    for (let count = 0; count < 3; count += 1) expect((await verify(flooded, bad)).status).toBe(401);
    const reply = await verify(flooded, good);
    expect(refusal(reply).slice(0, 2)).toEqual([429, "too_many_failed_logins"]);
    expect(Number(reply.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await verify(world.gate, good)).status).toBe(200);
  });

  function openFlooded(): Promise<Gate> {
    return world.open({}, undefined, 3);
  }
});
