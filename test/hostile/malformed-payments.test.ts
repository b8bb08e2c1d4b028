import type { PaymentPayload } from "@x402/core/types";
import express, { type RequestHandler } from "express";
import fc from "fast-check";
import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Buyer, createBuyer } from "../support/buyer.ts";
import { createForger, encode, v1, v2, withAccepted } from "./forger.ts";
import { rawRequest, requestBytes } from "./raw-request.ts";
import { openStall, type Stall } from "./stall.ts";

const PATH = "/report/1";
const CONTENT = "what is sold";
const HEADER_V2 = "PAYMENT-SIGNATURE";
const HEADER_V1 = "X-PAYMENT";

type Json = Record<string, unknown>;

let stall: Stall;
let pool: Pool;
let buyer: Buyer;
/** An honest payment that was never used, and one that was delivered; both without the parts that nothing depends on. */
let unused: PaymentPayload;
let delivered: PaymentPayload;
let unusedV1: Json;

beforeAll(async () => {
  stall = await openStall(PATH, (paywall, ran) => {
    const app = express();
    app.get("/report/:id", paywall({ price: "$0.02" }) as RequestHandler, (req, res) => {
      ran.push(req.params["id"] ?? "");
      res.json({ content: CONTENT });
    });
    return app;
  });
  pool = new Pool(stall.url, { connections: 8, pipelining: 8 });
  buyer = await createBuyer({ localnet: { rpcUrl: stall.rpc.url, fund: async () => {} } } as never);
  unused = await bare();
  delivered = await bare();
  unusedV1 = decode((await buyer.signV1(stall.url + PATH))[HEADER_V1] ?? "");
  const served = await ask(v2(delivered));
  expect(served.status).toBe(200);
  expect(stall.ran).toEqual(["1"]);
});

afterAll(async () => {
  await pool.close();
  await stall.close();
});

async function bare(): Promise<PaymentPayload> {
  const forger = await createForger(stall.rpc.url);
  const { x402Version, accepted, payload } = await forger.sign(await forger.challenge(stall.url + PATH));
  return { x402Version, accepted, payload };
}

function decode(header: string): Json {
  return JSON.parse(Buffer.from(header, "base64").toString("utf8"));
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function ask(headers: Record<string, string | string[]>): Promise<Answer> {
  const { statusCode, body } = await pool.request({ method: "GET", path: PATH, headers });
  return { status: statusCode, text: await body.text() };
}

/** Refused by our own checks: nothing ran, and nobody was asked. */
async function refused(headers: Record<string, string | string[]>): Promise<Answer> {
  const answer = await ask(headers);
  expect([400, 402, 409]).toContain(answer.status);
  expect(answer.text).not.toContain(CONTENT);
  expect(stall.ran).toHaveLength(1);
  expect(stall.facilitator.calls.verify).toBe(1);
  expect(stall.facilitator.calls.settle).toBe(1);
  return answer;
}

describe("a header that is no payment", () => {
  test.each<[string, string]>([
    ["empty", ""],
    ["a word", "please"],
    ["JSON that is not encoded", '{"x402Version":2}'],
    ["base64 of nothing", "===="],
    ["base64url", Buffer.from('{"x402Version":2,"a":"???>>>"}').toString("base64url")],
    ["base64 without its padding", encode({ x402Version: 2 }).replace(/=+$/, "")],
    ["base64 of an empty text", encode("")],
    ["base64 of null", encode(null)],
    ["base64 of a number", encode(2)],
    ["base64 of a list", encode([2])],
    ["base64 of an empty object", encode({})],
    ["base64 of broken JSON", Buffer.from('{"x402Version":2').toString("base64")],
    ["base64 of a byte that is no UTF-8", Buffer.from([0x7b, 0xff, 0x7d]).toString("base64")],
    ["base64 of JSON with a byte order mark", Buffer.from('\ufeff{"x402Version":2}').toString("base64")],
    ["only a version", encode({ x402Version: 2 })],
    ["nested too deeply", Buffer.from(`${"[".repeat(4000)}${"]".repeat(4000)}`).toString("base64")],
    ["too long", "A".repeat(12_292)],
    ["non-ASCII", "\xe4\xf6\xfc\xff"],
  ])("%s is 400", async (_name, value) => {
    expect((await refused({ [HEADER_V2]: value })).status).toBe(400);
    expect((await refused({ [HEADER_V1]: value })).status).toBe(400);
  });

  test.each([0, 1, 3, 2.5, -2, "2", null, 1e300])("version %s is 400", async (x402Version) => {
    expect((await refused(v2({ ...unused, x402Version }))).status).toBe(400);
  });

  test("a header of control characters never reaches us, one beyond the server's limit is 431", async () => {
    const control = await rawRequest(stall.port, requestBytes("GET", PATH, [`${HEADER_V2}: a\0b`]));
    const huge = await rawRequest(
      stall.port,
      requestBytes("GET", PATH, [`${HEADER_V2}: ${"A".repeat(65_536)}`]),
    );
    expect(control.statuses).toEqual([400]);
    expect(huge.statuses).toEqual([431]);
    await refused({ [HEADER_V2]: "" });
  });
});

describe("a valid payment, misplaced", () => {
  test("the header twice", async () => {
    const header = encode(unused);
    expect((await refused({ [HEADER_V2]: [header, header] })).status).toBe(400);
    expect((await refused({ [HEADER_V1]: [encode(unusedV1), encode(unusedV1)] })).status).toBe(400);
  });

  test("a broken v2 header is not saved by a valid v1 header beside it", async () => {
    expect((await refused({ [HEADER_V2]: "junk", [HEADER_V1]: encode(unusedV1) })).status).toBe(400);
  });

  test("v2 in the v1 header and the reverse", async () => {
    expect((await refused({ [HEADER_V1]: encode(unused) })).status).toBe(400);
    expect((await refused({ [HEADER_V2]: encode(unusedV1) })).status).toBe(400);
  });

  test("a transaction signed under v2 does not count as v1, where no token is asked for", async () => {
    expect((await refused(v1(unused))).status).toBe(402);
    expect((await refused(v1(delivered))).status).toBe(402);
  });

  test("a transaction signed under v1 does not count as v2", async () => {
    expect((await refused(v2({ ...unused, payload: unusedV1["payload"] }))).status).toBe(402);
  });
});

describe("a valid payment, altered", () => {
  test.each<[string, (payment: PaymentPayload) => unknown]>([
    ["no token", (payment) => withAccepted(payment, {}, { token: undefined })],
    ["an empty token", (payment) => withAccepted(payment, {}, { token: "" })],
    ["the memo as token", (payment) => withAccepted(payment, {}, { token: payment.accepted.extra["memo"] })],
    ["a token that is no text", (payment) => withAccepted(payment, {}, { token: { a: 1 } })],
    ["no memo", (payment) => withAccepted(payment, {}, { memo: undefined })],
    ["another memo", (payment) => withAccepted(payment, {}, { memo: "A".repeat(24) })],
    ["another feePayer", (payment) => withAccepted(payment, {}, { feePayer: payment.accepted.payTo })],
    ["no extra", ({ accepted: { extra: _, ...rest }, ...payment }) => ({ ...payment, accepted: rest })],
    ["a lower amount", (payment) => withAccepted(payment, { amount: "1" })],
    ["the same amount, written otherwise", (payment) => withAccepted(payment, { amount: "020000" })],
    ["another payTo", (payment) => withAccepted(payment, { payTo: payment.accepted.asset })],
    ["payTo and asset swapped", swapPayTo],
    ["another network", (payment) => withAccepted(payment, { network: "solana:devnet" })],
    ["another scheme", (payment) => withAccepted(payment, { scheme: "upto" })],
    ["a longer time", (payment) => withAccepted(payment, { maxTimeoutSeconds: 86_400 })],
    ["no transaction", (payment) => ({ ...payment, payload: {} })],
    ["an empty transaction", (payment) => ({ ...payment, payload: { transaction: "" } })],
    ["a transaction that is none", (payment) => ({ ...payment, payload: { transaction: "AAAA" } })],
  ])("%s", async (_name, alter) => {
    await refused(v2(alter(unused)));
    await refused(v2(alter(delivered)));
  });

  test("another payment's token, or its transaction", async () => {
    const { token, memo } = delivered.accepted.extra;
    expect((await refused(v2(withAccepted(unused, {}, { token })))).status).toBe(402);
    expect((await refused(v2(withAccepted(unused, {}, { token, memo })))).status).toBe(402);
    expect((await refused(v2({ ...unused, payload: delivered.payload }))).status).toBe(402);
  });
});

function swapPayTo(payment: PaymentPayload): PaymentPayload {
  const { payTo, asset } = payment.accepted;
  return withAccepted(payment, { payTo: asset, asset: payTo });
}

/** Where each leaf of a JSON value is. */
function leaves(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [[...path]];
  return Object.entries(value).flatMap(([key, item]) => leaves(item, [...path, key]));
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, key) => (inner as Json)[key], value);
}

/** A copy with another value at this place; undefined removes it. */
function put(value: unknown, [key, ...rest]: readonly string[], item: unknown): unknown {
  if (key === undefined) return item;
  return { ...(value as Json), [key]: put((value as Json)[key], rest, item) };
}

const SIGNATURE_OF_FEE_PAYER = { start: 1, end: 65 };

/** What a payment says, but for the fee payer's signature: it is not there yet, so nobody looks at it. */
function meaning(header: string): string {
  const bytes = Buffer.from(header, "base64");
  if (bytes.toString("base64") !== header) return "not canonical";
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    const transaction = Buffer.from(String(at(value, ["payload", "transaction"])), "base64");
    transaction.fill(0, SIGNATURE_OF_FEE_PAYER.start, SIGNATURE_OF_FEE_PAYER.end);
    const text = transaction.toString("base64");
    return JSON.stringify(put(value, ["payload", "transaction"], text), Object.keys(sortable(value)).sort());
  } catch {
    return "no payment";
  }
}

/** Every key that occurs anywhere, so that the order of keys means nothing. */
function sortable(value: unknown): Json {
  if (typeof value !== "object" || value === null) return {};
  return Object.assign({ ...value }, ...Object.values(value).map(sortable));
}

const position = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

type Edit = (text: string) => string;

const textEdit: fc.Arbitrary<Edit> = fc.oneof(
  fc.tuple(position, fc.integer({ min: 0x20, max: 0x7e })).map(([where, code]): Edit => {
    return (text) => splice(text, where, 1, String.fromCharCode(code));
  }),
  position.map((where): Edit => (text) => splice(text, where, 1, "")),
  fc.tuple(position, fc.string({ minLength: 1, maxLength: 8 })).map(([where, more]): Edit => {
    return (text) => splice(text, where, 0, more);
  }),
  position.map((where): Edit => (text) => text.slice(0, Math.floor(where * text.length))),
);

function splice(text: string, where: number, remove: number, insert: string): string {
  const index = Math.floor(where * text.length);
  return text.slice(0, index) + insert + text.slice(index + remove);
}

/** Changes one bit of the signed transaction. */
const bitFlip = fc.tuple(position, fc.nat(7)).map(([where, bit]) => (payment: unknown): unknown => {
  const path = ["payload", "transaction"];
  const bytes = Buffer.from(String(at(payment, path)), "base64");
  const index = Math.floor(where * bytes.length);
  bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
  return put(payment, path, bytes.toString("base64"));
});

/** Puts something else into one field, or another field's value, or nothing. */
const fieldChange = fc
  .tuple(position, position, fc.oneof(fc.jsonValue(), fc.constant(undefined), fc.string()), fc.boolean())
  .map(([where, from, value, swap]) => (payment: unknown): unknown => {
    const places = leaves(payment);
    const place = places[Math.floor(where * places.length)] ?? [];
    const source = places[Math.floor(from * places.length)] ?? [];
    return put(payment, place, swap ? at(payment, source) : value);
  });

type Make = (payment: unknown) => string;

const mutation: fc.Arbitrary<Make> = fc.oneof(
  { weight: 2, arbitrary: textEdit.map((edit): Make => (payment) => edit(encode(payment))) },
  {
    weight: 3,
    arbitrary: textEdit.map((edit): Make => (payment) => {
      return Buffer.from(edit(JSON.stringify(payment)), "utf8").toString("base64");
    }),
  },
  { weight: 3, arbitrary: bitFlip.map((change): Make => (payment) => encode(change(payment))) },
  { weight: 3, arbitrary: fieldChange.map((change): Make => (payment) => encode(change(payment))) },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme-ascii", maxLength: 200 }).map((text): Make => () => text) },
  { weight: 1, arbitrary: fc.jsonValue().map((value): Make => () => encode(value) ?? "") },
);

const BATCH = 50;
const RUNS = 80;

describe("10,000 and more mutations of honest payments", () => {
  test.each<[string, string, () => unknown]>([
    ["one that was never used", HEADER_V2, () => unused],
    ["one that was delivered", HEADER_V2, () => delivered],
    ["one of protocol v1", HEADER_V1, () => unusedV1],
  ])("%s", async (_name, header, payment) => {
    let sent = 0;
    const honest = meaning(encode(payment()));
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: BATCH, maxLength: BATCH }), async (makes) => {
        const values = makes.map((make) => make(payment())).filter((value) => meaning(value) !== honest);
        sent += values.length;
        const answers = await Promise.all(values.map((value) => ask({ [header]: printable(value) })));
        for (const { status, text } of answers) {
          expect([400, 402, 409]).toContain(status);
          expect(text).not.toContain(CONTENT);
        }
        expect(stall.ran).toHaveLength(1);
        expect(stall.facilitator.calls.verify).toBe(1);
      }),
      { numRuns: RUNS },
    );
    expect(sent).toBeGreaterThan(3_400);
  });

  test("and the payments they were made from are good to the end", async () => {
    expect((await ask(v2(delivered))).text).toContain(CONTENT);
    expect(stall.ran).toHaveLength(1);
    expect((await ask(v2(unused))).status).toBe(200);
    expect((await ask({ [HEADER_V1]: encode(unusedV1) })).status).toBe(200);
    expect(stall.ran).toHaveLength(3);
  });
});

/** What a client library can send at all: a header has no characters beyond latin1. */
function printable(value: string): string {
  return value.replace(/[^\x20-\x7e\x80-\xff]/g, "?");
}
