import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { answers } from "../support/model-upstream.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness, type Sale } from "./audit.ts";

let shop: Shop;
let auditor: Auditor;

beforeAll(async () => {
  shop = await openShop({
    yaml: `
routes:
  "POST /dear": { upstream: default, price: "$0.05", settle: upfront }
`,
  });
  await openForBusiness(shop.url);
  auditor = createAuditor(shop);
});
afterEach(() => auditor.audit());
afterAll(async () => {
  await auditor.close();
  await shop.close();
});

const STREAM = { stream: true };
const unsettled = { state: "released", reason: "client_left", leased: false };

interface Visit {
  /** What the client has read so far grows by one chunk. */
  read(): Promise<string>;
  /** Hangs up. */
  leave(): Promise<void>;
  readonly response: Promise<Response>;
}

/** A client that may leave. */
function visit(sale: Sale): Visit {
  const leaving = new AbortController();
  const headers = { ...(sale.init.headers as Record<string, string>), ...sale.payment };
  const response = fetch(sale.url, { ...sale.init, headers, signal: leaving.signal });
  const reader = response.then(({ body }) => body?.getReader());
  reader.catch(() => {});
  return {
    response,
    read: async () => new TextDecoder().decode((await (await reader)?.read())?.value),
    leave: async () => {
      leaving.abort();
      await response.catch(() => {});
    },
  };
}

const isNow = (sale: Sale, wanted: object) =>
  vi.waitFor(async () => expect(await auditor.record(sale)).toMatchObject(wanted), {
    interval: 10,
    timeout: 5_000,
  });

/** The upstream ran for nothing, so this payer settles first from now on; then it is served as anybody. */
async function expectUsableAgain(sale: Sale): Promise<void> {
  const upstream = shop.upstream.calls.length;
  const settle = shop.facilitator.hold("settle");
  const answer = sale.send();
  await settle.arrived;
  expect(shop.upstream.calls.length).toBe(upstream);
  settle.release();
  expect(await answer).toMatchObject({ status: 200, settles: 1 });
  expect(await auditor.state(sale)).toBe("delivered");
}

describe("the client leaves before settling: not charged", () => {
  test("while the payment is verified: the upstream never hears of it", async () => {
    const sale = await auditor.sell();
    const upstream = shop.upstream.calls.length;
    const verify = shop.facilitator.hold("verify");
    const client = visit(sale);
    await verify.arrived;
    await client.leave();
    await isNow(sale, { state: "released", leased: false });
    verify.release();
    expect(shop.upstream.calls.length).toBe(upstream);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 1 });
  });

  test("while the upstream works: cancelled, and the same payment is good again", async () => {
    const sale = await auditor.sell();
    const held = shop.upstream.hold();
    const client = visit(sale);
    const { aborted } = await held.arrived;
    await client.leave();
    await aborted;
    await isNow(sale, unsettled);
    await expectUsableAgain(sale);
  });

  test("while a stream has not said anything yet", async () => {
    const sale = await auditor.sell({ body: STREAM });
    const stream = shop.upstream.stream();
    const client = visit(sale);
    const { aborted } = await stream.arrived;
    await stream.raw(": still thinking\n\n");
    await client.leave();
    await aborted;
    await isNow(sale, unsettled);
    await expectUsableAgain(sale);
  });
});

describe("the client leaves while the payment is settled: kept for its retry", () => {
  test("a whole answer: the retry gets it, and the upstream is not asked again", async () => {
    const sale = await auditor.sell();
    shop.upstream.next(answers.chat("Only once."));
    const settle = shop.facilitator.hold("settle");
    const client = visit(sale);
    await settle.arrived;
    const upstream = shop.upstream.calls.length;
    await client.leave();
    settle.release();
    await isNow(sale, { state: "settled", leased: false });
    const answer = await sale.send();
    expect(answer).toMatchObject({ status: 200, settles: 0 });
    expect(answer.text).toContain("Only once.");
    expect(await sale.send()).toMatchObject({ status: 200, text: answer.text });
    expect(shop.upstream.calls.length).toBe(upstream);
    expect(await auditor.state(sale)).toBe("delivered");
  });

  test("a stream: it is collected to its end, and the retry gets all of it", async () => {
    const sale = await auditor.sell({ body: STREAM });
    const stream = shop.upstream.stream();
    const settle = shop.facilitator.hold("settle");
    const client = visit(sale);
    await stream.delta("One ");
    await settle.arrived;
    const upstream = shop.upstream.calls.length;
    await client.leave();
    settle.release();
    await isNow(sale, { state: "settled" });
    await stream.delta("two.");
    await stream.finish();
    await isNow(sale, { state: "settled", leased: false });
    const answer = await sale.send();
    expect(answer).toMatchObject({ status: 200, settles: 0 });
    expect(answer.text).toMatch(/One .*two\..*\[DONE\]/s);
    expect(shop.upstream.calls.length).toBe(upstream);
  });

  test("a stream that breaks after that: the retry is served anew, on the same settlement", async () => {
    const sale = await auditor.sell({ body: STREAM });
    const stream = shop.upstream.stream();
    const settle = shop.facilitator.hold("settle");
    const client = visit(sale);
    await stream.delta("One ");
    await settle.arrived;
    await client.leave();
    settle.release();
    await isNow(sale, { state: "settled" });
    await stream.breakOff();
    await isNow(sale, { state: "settled", leased: false });
    const answer = await sale.send();
    expect(answer).toMatchObject({ status: 200, settles: 0 });
    expect(answer.text).toContain("[DONE]");
  });

  test("before an upfront call: it is not run for nobody, and the retry is served", async () => {
    const sale = await auditor.sell({ path: "/dear" });
    const upstream = shop.upstream.calls.length;
    const settle = shop.facilitator.hold("settle");
    const client = visit(sale);
    await settle.arrived;
    await client.leave();
    settle.release();
    await isNow(sale, { state: "settled", leased: false });
    expect(shop.upstream.calls.length).toBe(upstream);
    expect(await sale.send()).toMatchObject({ status: 200, settles: 0 });
    expect(shop.upstream.calls.length).toBe(upstream + 1);
  });
});

describe("mid-stream", () => {
  test("the client leaves: the upstream is cancelled, and it was delivered", async () => {
    const sale = await auditor.sell({ body: STREAM });
    const stream = shop.upstream.stream();
    const client = visit(sale);
    const { aborted } = await stream.arrived;
    await stream.delta("One ");
    expect(await client.read()).toContain("One ");
    await client.leave();
    await aborted;
    await isNow(sale, { state: "delivered" });
    expect(await sale.send()).toMatchObject({ status: 409, code: "response_not_stored", settles: 0 });
    expect(await shop.gateway.ledger.balance(sale.account)).toBe(0n);
  });

  test.each([
    { name: "the upstream's connection breaks", path: "/v1/chat/completions", how: "breakOff" },
    { name: "the upstream reports an error", path: "/v1/chat/completions", how: "errorFrame" },
    { name: "the upstream just stops", path: "/v1/chat/completions", how: "end" },
    { name: "the agent's upstream breaks", path: "/agent", how: "breakOff" },
  ] as const)("$name: owed, once", async ({ path, how }) => {
    const sale = await auditor.sell({ path, body: STREAM });
    const stream = shop.upstream.stream();
    const client = visit(sale);
    await stream.delta("One ");
    expect(await client.read()).toContain("One ");
    await stream[how]();
    await expect(readToEnd(client)).rejects.toThrow();
    await isNow(sale, { state: "credited" });
    const { ledger } = shop.gateway;
    expect(await ledger.journal(sale.account)).toMatchObject([
      { reference: `payment:${sale.id}`, amount: 20_000n },
    ]);
    for (let retry = 0; retry < 2; retry += 1) {
      const answer = await sale.send();
      expect(answer).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
      expect(answer.error?.details).toMatchObject({ account: sale.account });
    }
    expect(await ledger.balance(sale.account)).toBe(20_000n);
  });
});

describe("settled before there was an answer, and then the upstream fails", () => {
  test("upfront: told so, and owed once", async () => {
    const sale = await auditor.sell({ path: "/dear" });
    shop.upstream.next(answers.reset);
    expect(await sale.send()).toMatchObject({ status: 502, code: "upstream_unreachable", settles: 1 });
    expect(await auditor.state(sale)).toBe("credited");
    expect(await sale.send()).toMatchObject({ status: 409, code: "payment_credited", settles: 0 });
    expect(await shop.gateway.ledger.balance(sale.account)).toBe(50_000n);
  });
});

async function readToEnd(client: Visit): Promise<void> {
  while ((await client.read()) !== "");
}
