import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import {
  createKeyPairSignerFromBytes,
  decompileTransactionMessage,
  getBase64Encoder,
  getCompiledTransactionMessageDecoder,
  getTransactionDecoder,
  type Instruction,
} from "@solana/kit";
import type { PaymentRequirements } from "@x402/core/types";
import { ExactSvmScheme as OfficialClient } from "@x402/svm/exact/client";
import { ExactSvmScheme as OfficialFacilitator } from "@x402/svm/exact/facilitator";
import { ExactSvmSchemeV1 as OfficialClientV1 } from "@x402/svm/v1";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { associatedTokenAccount, decodeAddress, encodeAddress } from "../../server/payment/solana-bytes.ts";
import { decodePayment, isSigned, matchTerms } from "../../server/payment/transaction.ts";
import {
  AMOUNT,
  accountByKit,
  append,
  assertCall,
  build,
  type Draft,
  draftPayment,
  type Edit,
  EURC,
  encodeMessage,
  MEMO,
  memoCall,
  merchant,
  other,
  payer,
  priceCall,
  set,
  signMessage,
  splice,
  sponsor,
  TOKEN,
  TOKEN_2022,
  toAddress,
  toBytes,
  USDC,
} from "./draft-transaction.ts";

const requirements: PaymentRequirements = {
  scheme: "exact",
  network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
  amount: AMOUNT.toString(),
  asset: USDC,
  payTo: merchant.address,
  maxTimeoutSeconds: 60,
  extra: { feePayer: sponsor.address, memo: "Y2hhbGxlbmdlIG1lbW8g" },
};

/** What kit reads in a transaction. */
function readByKit(base64: string) {
  const transaction = getTransactionDecoder().decode(getBase64Encoder().encode(base64));
  const compiled = getCompiledTransactionMessageDecoder().decode(transaction.messageBytes);
  const instructions: readonly Instruction[] = decompileTransactionMessage(compiled).instructions;
  const { accounts = [], data = new Uint8Array(), programAddress } = instructions[2] ?? ({} as Instruction);
  const memo = instructions.find((instruction) => instruction.programAddress === MEMO);
  return {
    id: createHash("sha256").update(Buffer.from(transaction.messageBytes)).digest("hex"),
    payer: accounts[3]?.address,
    asset: accounts[1]?.address,
    destination: accounts[2]?.address,
    tokenProgram: programAddress,
    amount: Buffer.from(data).readBigUInt64LE(1),
    memo: Buffer.from(memo?.data ?? []).toString("utf8"),
    feePayer: compiled.staticAccounts[0],
    blockhash: compiled.lifetimeToken,
  };
}

/** Whether we accept a transaction; if so, kit must read the same in it. */
async function isAcceptedAsRead(base64: string): Promise<boolean> {
  const result = decodePayment(base64);
  if (!result.ok || !(await isSigned(result.payment))) return false;
  const {
    payerBytes,
    assetBytes,
    destination,
    tokenProgram,
    message: _message,
    signature: _signature,
    ...payment
  } = result.payment;
  const read = { ...payment, destination: toAddress(destination), tokenProgram: toAddress(tokenProgram) };
  expect(read).toEqual(readByKit(base64));
  expect([toAddress(payerBytes), toAddress(assetBytes)]).toEqual([payment.payer, payment.asset]);
  return true;
}

// Its simulation is a stub: all the facilitator's other checks are real.
const facilitator = new OfficialFacilitator({
  getAddresses: () => [sponsor.address],
  simulateTransaction: async () => {},
} as unknown as ConstructorParameters<typeof OfficialFacilitator>[0]);

async function expectAcceptedByAll(base64: string, accepted: PaymentRequirements): Promise<void> {
  const result = decodePayment(base64);
  expect(result).toMatchObject({ ok: true, payment: { payer: payer.address, feePayer: sponsor.address } });
  expect(result.ok && matchTerms(result.payment, accepted)).toBeUndefined();
  expect(await isAcceptedAsRead(base64)).toBe(true);
  const payload = { x402Version: 2, accepted, payload: { transaction: base64 } };
  expect(await facilitator.verify(payload, accepted)).toMatchObject({ isValid: true, payer: payer.address });
}

test.each<[string, Edit]>([
  ["a version 0 transaction", set({})],
  ["a legacy transaction", set({ versioned: false })],
  ["Token-2022", () => draftPayment(payer, USDC, TOKEN_2022)],
  ["three Lighthouse assertions after the memo", append(assertCall, assertCall, assertCall)],
  ["Lighthouse assertions before the memo", splice(3, 0, assertCall, assertCall)],
  ["the highest price of a compute unit", splice(1, 1, priceCall(5_000_000n))],
])("accepted by us and by the official facilitator: %s", async (_, edit) => {
  await expectAcceptedByAll(build(edit).toString("base64"), requirements);
});

describe("the official client's payment is accepted", () => {
  const mint = Buffer.alloc(82);
  mint.writeUInt8(6, 44);
  mint.writeUInt8(1, 45);
  const mintAccount = {
    data: [mint.toString("base64"), "base64"],
    executable: false,
    lamports: 1,
    owner: TOKEN,
    rentEpoch: 0,
    space: 82,
  };
  const latest = { blockhash: toAddress(Buffer.alloc(32, 9)), lastValidBlockHeight: 100 };
  const rpc = createServer(async (req, res) => {
    const { id, method } = JSON.parse(Buffer.concat(await req.toArray()).toString("utf8"));
    const value = method === "getAccountInfo" ? mintAccount : latest;
    res.setHeader("Content-Type", "application/json");
    res.end(JSON.stringify({ jsonrpc: "2.0", id, result: { context: { slot: 1 }, value } }));
  });
  let rpcUrl: string;
  beforeAll(async () => {
    await once(rpc.listen(0, "127.0.0.1"), "listening");
    rpcUrl = `http://127.0.0.1:${(rpc.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    rpc.closeAllConnections();
    await once(rpc.close(), "close");
  });
  const createSigner = () => createKeyPairSignerFromBytes(Buffer.concat([payer.seed, payer.bytes]));

  test("version 2, with the memo it was told", async () => {
    const client = new OfficialClient(await createSigner(), { rpcUrl });
    const { payload } = await client.createPaymentPayload(2, requirements);
    const transaction = String(payload["transaction"]);
    await expectAcceptedByAll(transaction, requirements);
    expect(decodePayment(transaction)).toMatchObject({ payment: { memo: "Y2hhbGxlbmdlIG1lbW8g" } });
  });

  test("version 1", async () => {
    const { memo: _, ...extra } = requirements.extra;
    const client = new OfficialClientV1(await createSigner(), { rpcUrl });
    const asked = { ...requirements, network: "solana", maxAmountRequired: requirements.amount, extra };
    const { payload } = await client.createPaymentPayload(1, asked as unknown as PaymentRequirements);
    await expectAcceptedByAll(String(payload["transaction"]), { ...requirements, extra });
  });
});

describe("against kit", () => {
  const drafts = fc
    .record({
      from: fc.constantFrom(payer, other),
      mint: fc.constantFrom(USDC, EURC),
      program: fc.constantFrom(TOKEN, TOKEN_2022),
      amount: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      versioned: fc.boolean(),
      memo: fc.option(fc.string({ unit: "binary", maxLength: 60 })),
      assertions: fc.nat(3),
      price: fc.bigInt({ min: 0n, max: 5_000_000n }),
    })
    .map(({ from, mint, program, amount, versioned, memo, assertions, price }): Draft => {
      const plain = draftPayment(from, mint, program, amount);
      const optional = Array(assertions).fill(assertCall);
      if (memo !== null) optional.push(memoCall(memo));
      return {
        ...plain,
        versioned,
        calls: [...plain.calls.with(1, priceCall(price)).slice(0, 3), ...optional],
      };
    });
  /** Bytes changed, cut out or put in at one place; now and then all after it is cut off. */
  const bends = fc
    .record({
      at: fc.nat(1231),
      remove: fc.nat(3),
      insert: fc.uint8Array({ maxLength: 3 }),
      end: fc.constantFrom(0, 1, 1, 1),
    })
    .map(({ at, remove, insert, end }) => (bytes: Buffer) => {
      const start = at % bytes.length;
      const rest = bytes.subarray(start + remove);
      return Buffer.concat([bytes.subarray(0, start), insert, rest.subarray(0, end * rest.length)]);
    });

  test("every valid payment is accepted and read alike", async () => {
    const property = fc.asyncProperty(drafts, async (draft) => {
      const base64 = signMessage(encodeMessage(draft), draft.signers).toString("base64");
      expect(await isAcceptedAsRead(base64)).toBe(true);
    });
    await fc.assert(property, { numRuns: 600 });
  });

  test("a message that was bent before it was signed is refused or read alike", async () => {
    let accepted = 0;
    const property = fc.asyncProperty(drafts, bends, async (draft, bend) => {
      const wire = signMessage(bend(encodeMessage(draft)), draft.signers);
      if (await isAcceptedAsRead(wire.toString("base64"))) accepted += 1;
    });
    await fc.assert(property, { numRuns: 6_000 });
    expect(accepted).toBeGreaterThan(100);
  });

  test("a signed transaction that was bent is refused or still the same payment", async () => {
    const wire = build();
    const original = decodePayment(wire.toString("base64"));
    let accepted = 0;
    const property = fc.asyncProperty(bends, async (bend) => {
      const result = decodePayment(bend(wire).toString("base64"));
      if (!result.ok || !(await isSigned(result.payment))) return;
      accepted += 1;
      expect(result).toEqual(original);
    });
    await fc.assert(property, { numRuns: 4_000 });
    expect(accepted).toBeGreaterThan(10);
  });

  test("any text and any bytes are refused without a throw", () => {
    const texts = fc.oneof(
      fc.string({ unit: "binary", maxLength: 2_000 }),
      fc.uint8Array({ maxLength: 1_300 }).map((bytes) => Buffer.from(bytes).toString("base64")),
    );
    const property = fc.property(texts, (text) => {
      expect(decodePayment(text).ok).toBe(false);
    });
    fc.assert(property, { numRuns: 2_000 });
  });

  test("addresses and token accounts are the same", async () => {
    const keys = fc
      .tuple(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.constantFrom(0, 0, 1, 8, 32))
      .map(([bytes, zeros]) => Buffer.from(bytes.fill(0, 0, zeros)));
    const property = fc.asyncProperty(keys, async (key) => {
      expect(encodeAddress(key)).toBe(toAddress(key));
      expect(decodeAddress(toAddress(key))).toEqual(key);
      const derived = associatedTokenAccount(key, toBytes(USDC), toBytes(TOKEN));
      expect(derived).toEqual(await accountByKit(key, USDC));
    });
    await fc.assert(property, { numRuns: 500 });
  });
});
