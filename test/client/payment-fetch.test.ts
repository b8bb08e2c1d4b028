import { generateKeyPairSigner } from "@solana/kit";
import type { PaymentRequired } from "@x402/core/types";
import { afterEach, expect, test } from "vitest";
import {
  createPaymentFetch,
  type PaymentEvent,
  type PaymentFetchOptions,
} from "../../client/payment-fetch.ts";
import type { Listening } from "./listen.ts";
import {
  DECLARATION,
  decode,
  drop,
  fail,
  MAINNET,
  OPTION,
  RECEIPT,
  type Step,
  serve,
  startSeller,
} from "./seller.ts";
import { startStandInRpc } from "./stand-in-rpc.ts";

const open: Listening[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function setUp(
  script: readonly Step[],
  options: Partial<PaymentFetchOptions> = {},
  declaration?: PaymentRequired,
) {
  const seller = await startSeller(script, declaration);
  const rpc = await startStandInRpc();
  open.push(seller, rpc);
  const wallet = await generateKeyPairSigner();
  const events: PaymentEvent[] = [];
  const waits: number[] = [];
  const paymentFetch = createPaymentFetch({
    wallet,
    rpcUrl: rpc.url,
    maxPrice: 50_000n,
    onEvent: (event) => void events.push(event),
    sleep: async (ms) => void waits.push(ms),
    now: () => Date.UTC(2026, 0, 1),
    ...options,
  });
  return { seller, rpc, wallet, events, waits, paymentFetch };
}

test("an answer that is not 402 is returned without a payment", async () => {
  const { seller, rpc, paymentFetch, events } = await setUp([]);
  const free = await paymentFetch(rpc.url, {
    method: "POST",
    body: '{"id":1,"method":"getLatestBlockhash"}',
  });
  expect(free.status).toBe(200);
  expect(events).toEqual([]);
  expect(seller.seen).toEqual([]);
});

test("a 402 is paid with the shown terms, echoed whole, and the request is repeated as it was", async () => {
  const { seller, wallet, events, paymentFetch } = await setUp([serve("the reply")]);
  const response = await paymentFetch(`${seller.url}/agent`, { method: "PUT", body: "ask" });
  expect(await response.text()).toBe("the reply");
  expect(seller.seen.map(({ method, body }) => [method, body])).toEqual([
    ["PUT", "ask"],
    ["PUT", "ask"],
  ]);
  const payload = decode(seller.payments()[0]);
  expect(payload.x402Version).toBe(2);
  expect(payload.accepted).toEqual(OPTION);
  expect(payload.resource).toEqual(DECLARATION.resource);
  expect(events.map((event) => event.type)).toEqual(["terms", "signed", "receipt"]);
  expect(events[1]).toMatchObject({ payer: wallet.address, terms: { price: 20_000n, network: MAINNET } });
  expect(events[2]).toMatchObject({ receipt: RECEIPT });
});

test("409, 503 and a dropped connection: the same payment again, byte for byte, as Retry-After tells", async () => {
  const { seller, waits, events, paymentFetch } = await setUp([
    fail(409, "payment_in_progress", "1"),
    drop,
    fail(503, "settlement_unknown", "7"),
    fail(503, "settlement_unknown", "Thu, 01 Jan 2026 00:00:03 GMT"),
    fail(503, "facilitator_unavailable"),
    serve("at last"),
  ]);
  const response = await paymentFetch(seller.url, { method: "POST", body: "x" });
  expect(await response.text()).toBe("at last");
  expect(waits).toEqual([1_000, 2_000, 7_000, 3_000, 10_000]);
  const payments = seller.payments();
  expect(payments).toHaveLength(6);
  expect(new Set(payments).size).toBe(1);
  expect(seller.seen.filter(({ body }) => body === "x")).toHaveLength(7);
  expect(events.filter(({ type }) => type === "signed")).toHaveLength(1);
  const reasons = events.flatMap((event) => (event.type === "resend" ? event.reason : []));
  expect(reasons[0]).toBe("409 payment_in_progress");
  expect(reasons[1]).not.toMatch(/^\d/);
  expect(reasons.slice(2)).toEqual(["503", "503", "503"]);
});

test.each([402, 409, 503])("a %i that breaks off in its body: the same payment again", async (status) => {
  const cut: Step = (_req, res) => {
    res.writeHead(status, { "content-length": "100" });
    res.write('{"error":', () => res.socket?.destroy());
  };
  const { seller, events, paymentFetch } = await setUp([cut, serve("ok")]);
  expect(await (await paymentFetch(seller.url)).text()).toBe("ok");
  expect(seller.payments()).toHaveLength(2);
  expect(new Set(seller.payments()).size).toBe(1);
  expect(events.map(({ type }) => type)).toEqual(["terms", "signed", "resend", "receipt"]);
});

test("a 503 whose body does not end is given up after the time limit and asked again", async () => {
  let stalled = false;
  const stallOnce: typeof fetch = async (url, init) => {
    const response = await fetch(url, { ...init, signal: null });
    if (stalled || response.status !== 503) return response;
    stalled = true;
    const body = new ReadableStream({
      start(controller) {
        const end = () => controller.error(init?.signal?.reason);
        if (init?.signal?.aborted === true) end();
        else init?.signal?.addEventListener("abort", end);
      },
    });
    return new Response(body, { status: 503 });
  };
  const script = [fail(503, "settlement_unknown"), serve("ok")];
  const { seller, events, paymentFetch } = await setUp(script, { headTimeoutMs: 1, fetch: stallOnce });
  expect((await paymentFetch(seller.url)).status).toBe(200);
  expect(seller.payments()).toHaveLength(2);
  expect(new Set(seller.payments()).size).toBe(1);
  expect(events).toContainEqual(expect.objectContaining({ type: "resend", reason: "no answer within 1 ms" }));
});

test("the numeric dialect's reason is read too", async () => {
  const busy: Step = (_req, res) =>
    void res.writeHead(409).end('{"error":{"code":409,"reason":"payment_in_progress"}}');
  const { seller, waits, paymentFetch } = await setUp([busy, serve("ok")]);
  expect((await paymentFetch(seller.url)).status).toBe(200);
  expect(waits).toEqual([1_000]);
});

test.each([
  [402, "payment_refused"],
  [409, "payment_already_used"],
  [409, "payment_credited"],
  [429, "too_many_payments"],
  [500, "internal_error"],
  [502, "upstream_unreachable"],
])("%i %s is the answer: nothing is sent or signed again", async (status, code) => {
  const { seller, waits, paymentFetch } = await setUp([fail(status, code, "1")]);
  const response = await paymentFetch(seller.url);
  expect(response.status).toBe(status);
  expect(await response.json()).toEqual({ error: { code } });
  expect(seller.payments()).toHaveLength(1);
  expect(waits).toEqual([]);
});

test("of two equal calls without an answer the first was refused: the other's payment serves the next, and none is signed", async () => {
  const lost = fail(503, "settlement_unknown", "86400");
  const { seller, events, paymentFetch } = await setUp([
    lost,
    lost,
    fail(402, "payment_expired"),
    serve("ok"),
  ]);
  const answers = await Promise.all([paymentFetch(seller.url), paymentFetch(seller.url)]);
  expect(answers.map(({ status }) => status)).toEqual([503, 503]);
  const [first, second] = paymentFetch.unfinished().map(({ headers }) => headers["PAYMENT-SIGNATURE"]);
  expect(await (await paymentFetch(seller.url)).text()).toBe("ok");
  expect(seller.payments().slice(2)).toEqual([first, second]);
  expect(events.filter(({ type }) => type === "signed")).toHaveLength(2);
  expect(paymentFetch.unfinished()).toEqual([]);
});

test("attempts are bounded: the last answer is returned", async () => {
  const { seller, waits, paymentFetch } = await setUp([fail(503, "settlement_unknown", "2")], {
    maxAttempts: 4,
  });
  const response = await paymentFetch(seller.url);
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({ error: { code: "settlement_unknown" } });
  expect(waits).toEqual([2_000, 2_000, 2_000]);
  expect(new Set(seller.payments()).size).toBe(1);
});

test("waiting is bounded: a Retry-After beyond it is not waited for", async () => {
  const { seller, waits, paymentFetch } = await setUp([fail(503, "settlement_unknown", "86400")]);
  expect((await paymentFetch(seller.url)).status).toBe(503);
  expect(waits).toEqual([]);
  expect(seller.payments()).toHaveLength(1);
});

test("no answer at all: the outcome is unknown, and nothing else was signed", async () => {
  const { seller, paymentFetch } = await setUp([drop], { maxAttempts: 3 });
  await expect(paymentFetch(seller.url)).rejects.toMatchObject({ code: "outcome_unknown" });
  expect(seller.payments()).toHaveLength(3);
  expect(new Set(seller.payments()).size).toBe(1);
});

test("a server that hangs is given up after the time limit and asked again with the same payment", async () => {
  let hung = false;
  const hangOnce: typeof fetch = async (url, init) => {
    const isPaid = new Headers(init?.headers).has("payment-signature");
    if (hung || !isPaid) return fetch(url, { ...init, signal: null });
    hung = true;
    const limit = new Promise<never>((_resolve, reject) => {
      init?.signal?.addEventListener("abort", () => reject(init.signal?.reason));
    });
    await Promise.allSettled([fetch(url, { ...init, signal: null }), limit]);
    return limit;
  };
  const { seller, events, paymentFetch } = await setUp([serve("ok")], { headTimeoutMs: 1, fetch: hangOnce });
  expect((await paymentFetch(seller.url)).status).toBe(200);
  expect(seller.payments()).toHaveLength(2);
  expect(new Set(seller.payments()).size).toBe(1);
  expect(events).toContainEqual(expect.objectContaining({ type: "resend", reason: "no answer within 1 ms" }));
});

test("an abort between two sendings ends the call", async () => {
  const controller = new AbortController();
  const sleep = async () => controller.abort(new Error("enough"));
  const { seller, paymentFetch } = await setUp([fail(503, "settlement_unknown", "1")], { sleep });
  await expect(paymentFetch(seller.url, { signal: controller.signal })).rejects.toThrow("enough");
  expect(seller.payments()).toHaveLength(1);
});

test.each([
  [20_000n, true],
  [19_999n, false],
  [0n, false],
])(
  "with a limit of %i a price of 20000 is paid: %s; refused before the chain or the wallet is touched",
  async (maxPrice, paid) => {
    const { seller, rpc, paymentFetch } = await setUp([serve("ok")], { maxPrice });
    if (paid) {
      expect((await paymentFetch(seller.url)).status).toBe(200);
      return;
    }
    await expect(paymentFetch(seller.url)).rejects.toMatchObject({ code: "too_dear" });
    expect(rpc.asked).toEqual([]);
    expect(seller.payments()).toEqual([]);
  },
);

test("a price that a float would round is refused exactly", async () => {
  const amount = "9007199254740993";
  const { seller, paymentFetch } = await setUp(
    [serve("ok")],
    { maxPrice: 9_007_199_254_740_992n },
    {
      ...DECLARATION,
      accepts: [{ ...OPTION, amount }],
    },
  );
  await expect(paymentFetch(seller.url)).rejects.toMatchObject({ code: "too_dear" });
});

test("terms that name the wallet itself to pay the network's fee are not signed", async () => {
  const wallet = await generateKeyPairSigner();
  const accepts = [{ ...OPTION, extra: { ...OPTION.extra, feePayer: wallet.address } }];
  const { seller, events, paymentFetch } = await setUp(
    [serve("ok")],
    { wallet },
    { ...DECLARATION, accepts },
  );
  await expect(paymentFetch(seller.url)).rejects.toMatchObject({ code: "not_payable" });
  expect(events.map(({ type }) => type)).toEqual(["terms"]);
  expect(seller.payments()).toEqual([]);
});

test("beforeSigning sees the terms and can end the call unpaid", async () => {
  const beforeSigning = async () => {
    throw new Error("no");
  };
  const { seller, rpc, paymentFetch } = await setUp([serve("ok")], { beforeSigning });
  await expect(paymentFetch(seller.url)).rejects.toThrow("no");
  expect([rpc.asked, seller.payments()]).toEqual([[], []]);
});

test.each([
  [
    "an EVM network",
    { network: "eip155:8453" as const, asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913" },
  ],
  ["another scheme", { scheme: "upto" }],
  ["another token", { asset: "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB" }],
  ["a free price", { amount: "0" }],
  ["a negative price", { amount: "-20000" }],
  ["a decimal price", { amount: "0.02" }],
  ["a price beyond u64", { amount: "18446744073709551616" }],
])("an option with %s is passed over, and alone it is not payable", async (_what, change) => {
  const odd = { ...OPTION, ...change };
  const both = await setUp([serve("ok")], {}, { ...DECLARATION, accepts: [odd, OPTION] });
  expect((await both.paymentFetch(both.seller.url)).status).toBe(200);
  expect(decode(both.seller.payments()[0]).accepted).toEqual(OPTION);
  const alone = await setUp([serve("ok")], {}, { ...DECLARATION, accepts: [odd] });
  await expect(alone.paymentFetch(alone.seller.url)).rejects.toMatchObject({ code: "not_payable" });
  expect(alone.seller.payments()).toEqual([]);
});

test.each([
  ["no header", undefined],
  ["no base64", "%%%"],
  ["no JSON", "aGVsbG8="],
  ["no declaration", Buffer.from('{"x402Version":2}').toString("base64")],
  ["v1", Buffer.from('{"x402Version":1,"accepts":[]}').toString("base64")],
])("a 402 with %s is terms_unreadable", async (_what, header) => {
  const { rpc, paymentFetch } = await setUp([], {
    fetch: async () =>
      new Response("{}", {
        status: 402,
        headers: header === undefined ? {} : { "payment-required": header },
      }),
  });
  await expect(paymentFetch("http://127.0.0.1/")).rejects.toMatchObject({ code: "terms_unreadable" });
  expect(rpc.asked).toEqual([]);
});

test("a redirect after paying is returned: the payment does not travel to another host", async () => {
  const other = await startSeller([serve("stolen")]);
  open.push(other);
  const { seller, paymentFetch } = await setUp([
    (_req, res) => void res.writeHead(307, { location: other.url }).end(),
  ]);
  expect((await paymentFetch(seller.url)).status).toBe(307);
  expect(other.seen).toEqual([]);
});

test("a declared payment-identifier gets an id, once for all sendings", async () => {
  const extensions = { "payment-identifier": { info: { required: true }, schema: {} } };
  const { seller, paymentFetch } = await setUp([drop, serve("ok")], {}, { ...DECLARATION, extensions });
  await paymentFetch(seller.url);
  const [first, second] = seller
    .payments()
    .map((header) => decode(header).extensions?.["payment-identifier"]);
  expect(first).toMatchObject({ info: { required: true, id: expect.stringMatching(/^[\w-]{16,128}$/) } });
  expect(second).toEqual(first);
});

test("with the RPC down nothing is signed or sent", async () => {
  const { seller, rpc, paymentFetch } = await setUp([serve("ok")]);
  await rpc.close();
  await expect(paymentFetch(seller.url)).rejects.toMatchObject({ code: "signing_failed" });
  expect(seller.payments()).toEqual([]);
});

test("a server that cannot be reached is named", async () => {
  const { seller, paymentFetch } = await setUp([]);
  await seller.close();
  await expect(paymentFetch(seller.url)).rejects.toMatchObject({
    code: "unreachable",
    message: expect.stringContaining(seller.url),
  });
});
