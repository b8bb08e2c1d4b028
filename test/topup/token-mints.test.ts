import { generateKeyPairSigner, getAddressEncoder } from "@solana/kit";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LocalMint, type Localnet, startLocalnet } from "../../localnet/index.ts";
import type { TopUpToken } from "../../server/config.ts";
import { createLogger } from "../../server/log.ts";
import { readMintAccount, refuseMint } from "../../server/payment/mint-account.ts";
import { createNodePool } from "../../server/payment/node-pool.ts";
import { createRpcChain } from "../../server/payment/rpc-chain.ts";
import { openTopUpTokens, type TopUpTokens } from "../../server/top-up-tokens.ts";
import { type RpcProxy, startRpcProxy } from "../faults/rpc-proxy.ts";
import { keepLines } from "../support/log-lines.ts";

let localnet: Localnet;
let proxy: RpcProxy;
beforeAll(async () => {
  localnet = await startLocalnet({ rpcPort: 0, facilitatorPort: 0, slotMs: 0 });
  proxy = await startRpcProxy();
  proxy.forwardTo(localnet.rpcUrl);
});
afterAll(async () => {
  await proxy.close();
  await localnet.close();
});

const key = new Uint8Array(32).fill(7);
const bytes = (...parts: readonly (number | Uint8Array)[]) =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Uint8Array.of(part) : part)));

/** What each takes in a mint, and the instruction of the Token-2022 program that puts it there. */
const EXTENSIONS = {
  TransferFeeConfig: { bytes: 108, data: bytes(26, 0, 1, key, 1, key, 0, 0, new Uint8Array(8)) },
  MintCloseAuthority: { bytes: 32, data: bytes(25, 1, key) },
  ConfidentialTransferMint: { bytes: 65, data: bytes(27, 0, key, 1, new Uint8Array(32)) },
  DefaultAccountState: { bytes: 1, data: bytes(28, 0, 1) },
  NonTransferable: { bytes: 0, data: bytes(32) },
  InterestBearingConfig: { bytes: 52, data: bytes(33, 0, key, 0, 0) },
  PermanentDelegate: { bytes: 32, data: bytes(35, key) },
  TransferHook: { bytes: 64, data: bytes(36, 0, key, new Uint8Array(32)) },
  ScaledUiAmountConfig: { bytes: 56, data: bytes(43, 0, key, doubleOf(1)) },
  PausableConfig: { bytes: 33, data: bytes(44, 0, key) },
  MetadataPointer: { bytes: 64, data: bytes(39, 0, key, key) },
  GroupPointer: { bytes: 64, data: bytes(40, 0, key, key) },
  GroupMemberPointer: { bytes: 64, data: bytes(41, 0, key, key) },
} as const;

function doubleOf(value: number): Uint8Array {
  const buffer = Buffer.alloc(8);
  buffer.writeDoubleLE(value);
  return buffer;
}

function tokenOf(mint: string, decimals = 6): TopUpToken {
  const price = { numerator: 1n, denominator: 2n, at: Date.now() - 1_000 };
  return { symbol: "T", mint, decimals, price, maxAgeMs: 3_600_000, haircutBasisPoints: 0n };
}

function openTokens(tokens: readonly TopUpToken[], lookEveryMs?: number, now = Date.now) {
  const chain = createRpcChain({ url: proxy.url, timeoutMs: 2_000, asset: localnet.asset });
  const nodes = createNodePool({ nodes: [chain], onState: () => {} });
  const { lines, line, destination } = keepLines();
  const log = createLogger({ level: "info", destination });
  const options = { tokens, nodes, payTo: localnet.merchant, log, now };
  const opened = openTopUpTokens(lookEveryMs === undefined ? options : { ...options, lookEveryMs });
  return { opened, lines, line };
}

async function openGood(tokens: readonly TopUpToken[]): Promise<TopUpTokens> {
  const tokensOpened = await openTokens(tokens).opened;
  tokensOpened.close();
  return tokensOpened;
}

async function mintOf(options: Partial<LocalMint> = {}): Promise<string> {
  const mint = await localnet.createMint({ program: "token-2022", decimals: 6, ...options });
  await localnet.createTokenAccount(localnet.merchant, mint);
  return mint;
}

const HARMLESS: readonly string[] = ["MetadataPointer", "GroupPointer", "GroupMemberPointer"];
const names = Object.keys(EXTENSIONS) as (keyof typeof EXTENSIONS)[];

test.each(names.filter((name) => !HARMLESS.includes(name)))(
  "a mint that the Token-2022 program has made with %s is refused by that name",
  async (name) => {
    const mint = await localnet.createMint({
      ...{ program: "token-2022", decimals: 6 },
      extensions: [EXTENSIONS.MetadataPointer, EXTENSIONS[name]],
    });
    const { opened } = openTokens([tokenOf(localnet.play, 9), tokenOf(mint)]);
    await expect(opened).rejects.toThrow(
      `topup.tokens[1].mint: has an extension with which a transfer may not arrive whole, or not for good: ${name}`,
    );
  },
);

test.each(HARMLESS as typeof names)("one with %s is taken", async (name) => {
  const tokens = await openGood([tokenOf(await mintOf({ extensions: [EXTENSIONS[name]] }))]);
  expect(tokens.list()).toMatchObject([{ offered: true, reason: null }]);
});

test.each([
  ["token", 0],
  ["token", 9],
  ["token-2022", 18],
] as const)("one of %s with %i decimals is taken, and only with these", async (program, decimals) => {
  const mint = await mintOf({ program, decimals });
  expect((await openGood([tokenOf(mint, decimals)])).list()).toMatchObject([{ offered: true }]);
  const wrong = openTokens([tokenOf(mint, decimals + 1)]).opened;
  await expect(wrong).rejects.toThrow(`topup.tokens[0].mint: has ${decimals} decimals, not ${decimals + 1}`);
});

test("what is no mint is refused: nothing, a wallet, a token account, a program", async () => {
  const nobody = (await generateKeyPairSigner()).address;
  const account = await localnet.createTokenAccount(localnet.merchant);
  const program = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
  for (const mint of [nobody, localnet.feePayer, account, program]) {
    await expect(openTokens([tokenOf(mint)]).opened).rejects.toThrow("topup.tokens[0].mint: is no mint");
  }
});

describe("a node that does not answer at the start", () => {
  test("the token is not offered until it does", async () => {
    proxy.failAll({ status: 503, body: "" });
    const { opened, line } = openTokens([tokenOf(await mintOf())], 10);
    const tokens = await opened;
    try {
      await line({ level: "warn" });
      expect(tokens.list()).toMatchObject([{ offered: false, reason: "mint_unread" }]);
      expect(tokens.offers.current()).toEqual([]);
      proxy.repair();
      await untilOffered(tokens);
      expect(tokens.offers.current()).toHaveLength(1);
    } finally {
      tokens.close();
      proxy.repair();
    }
  });

  test("a mint that then turns out wrong is refused for good, in the log", async () => {
    proxy.failAll({ status: 503, body: "" });
    const mint = await mintOf({ extensions: [EXTENSIONS.PermanentDelegate] });
    const { opened, line } = openTokens([tokenOf(mint)], 10);
    const tokens = await opened;
    try {
      proxy.repair();
      const { msg } = await line({ level: "error", mint });
      expect(msg).toContain("topup.tokens[0].mint: has an extension");
      expect(tokens.list()).toMatchObject([{ offered: false, reason: "mint_refused" }]);
    } finally {
      tokens.close();
      proxy.repair();
    }
  });
});

test("without an account of the merchant's it is not offered, the log says how to make one, and then it is", async () => {
  const mint = await localnet.createMint({ program: "token-2022", decimals: 6 });
  const { opened, line } = openTokens([tokenOf(mint)], 10);
  const tokens = await opened;
  try {
    const { msg } = await line({ level: "error", mint });
    expect(msg).toContain(`spl-token create-account ${mint} --owner ${localnet.merchant}`);
    expect(tokens.list()).toMatchObject([{ offered: false, reason: "no_token_account" }]);
    await localnet.createTokenAccount(localnet.merchant, mint);
    await untilOffered(tokens);
  } finally {
    tokens.close();
  }
});

test("a price that goes stale while the gateway runs is told once in the log", async () => {
  let ahead = 0;
  const now = () => Date.now() + ahead;
  const { opened, line, lines } = openTokens([tokenOf(localnet.play, 9)], 10, now);
  const tokens = await opened;
  try {
    expect(lines).toEqual([]);
    ahead = 3_600_000;
    const { msg } = await line({ level: "warn", problem: "price_stale" });
    expect(msg).toBe("topup.tokens[0]: the token is not offered until it has a fresh price");
    ahead = 0;
    await line({ level: "info", symbol: "T" });
    expect(lines).toHaveLength(2);
  } finally {
    tokens.close();
  }
});

async function untilOffered(tokens: TopUpTokens): Promise<void> {
  while (tokens.list().some(({ offered }) => !offered)) await new Promise((resolve) => setImmediate(resolve));
}

describe("a mint's bytes", () => {
  const program = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb";
  function made(...tail: readonly Uint8Array[]): Buffer {
    const base = Buffer.alloc(166);
    base.set(getAddressEncoder().encode("PLAY111111111111111111111111111111111111111" as never), 4);
    base.writeUInt8(6, 44);
    base.writeUInt8(1, 45);
    base.writeUInt8(1, 165);
    return Buffer.concat([base, ...tail]);
  }
  const entry = (type: number, length: number, value = length) =>
    bytes(type & 0xff, type >> 8, length & 0xff, length >> 8, new Uint8Array(value));

  test("an extension that nobody knows yet is refused", () => {
    expect(refuseMint(readMintAccount(program, made(entry(9_999, 3))), 6)).toContain("number 9999");
  });

  test("one that is hidden behind harmless ones is found", () => {
    const mint = readMintAccount(program, made(entry(18, 64), entry(19, 200), entry(12, 32), entry(0, 0)));
    expect(refuseMint(mint, 6)).toContain("PermanentDelegate");
  });

  test("one that is longer than the account is no mint", () => {
    expect(readMintAccount(program, made(entry(18, 64, 10)))).toBeUndefined();
  });

  test("no bytes are taken for more than they are", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 400 }), (data) => {
      const mint = readMintAccount(program, Buffer.from(data));
      return mint === undefined || (data[45] === 1 && mint.decimals === data[44]);
    });
    fc.assert(property, { numRuns: 2_000 });
  });
});
