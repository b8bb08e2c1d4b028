import { expect, vi } from "vitest";
import { settleReasonMeaning } from "../../facilitator-client/reasons.ts";
import type { Ledger, PaymentRecord } from "../../server/ledger/ledger.ts";
import { decodePayment } from "../../server/payment/transaction.ts";
import { type Buyer, createBuyer, proofOf } from "../support/buyer.ts";
import type { Shop } from "../support/shop.ts";

/** What a request with a payment was answered. */
export interface Exchange {
  readonly status: number;
  readonly code: string | undefined;
  readonly retryAfter: number | undefined;
  readonly text: string;
  readonly error:
    | { readonly message: string; readonly details?: Readonly<Record<string, unknown>> }
    | undefined;
  /** How often `/settle` was sent for this payment while it was answered. */
  readonly settles: number;
  /** The transaction that PAYMENT-RESPONSE names. */
  readonly transaction: string | undefined;
  /** The record's reason right after the answer. */
  readonly reason: string | undefined;
}

/** One signed payment and the request it buys; it may be sent any number of times. */
export interface Sale {
  /** The payment's id in the ledger and on the chain. */
  readonly id: string;
  readonly payer: string;
  /** `wallet:<payer>`. */
  readonly account: string;
  readonly url: string;
  readonly init: RequestInit;
  readonly payment: Readonly<Record<string, string>>;
  readonly exchanges: Exchange[];
  /** Sends it and reads the whole answer. */
  send(): Promise<Exchange>;
}

/** Signs payments and holds the whole shop to account for them. */
export interface Auditor {
  /** Signs a payment for one call; by another wallet than before, unless given. */
  sell(call?: SaleOptions): Promise<Sale>;
  record(sale: Sale): Promise<PaymentRecord | undefined>;
  state(sale: Sale): Promise<string | undefined>;
  /** How often the chain has moved the money of this payment. */
  moved(sale: Sale): number;
  /** A round of the reconciler that begins now. */
  sweep(): Promise<void>;
  /** What must hold at every moment, for every payment sold here. */
  audit(): Promise<void>;
  /** What must hold once the chain can tell: everything is decided. */
  close(): Promise<void>;
}

export interface SaleOptions {
  readonly buyer?: Buyer;
  readonly path?: string;
  readonly body?: Readonly<Record<string, unknown>>;
  /** Signed by the official v1 client. */
  readonly v1?: boolean;
}

/** More than a blockhash lives, than our bound of the height is too high, and than finality lags. */
export const PAST_EXPIRY = 300;

/** The terms come from the facilitator, in the background: resolves when the shop can sell. */
export async function openForBusiness(url: string): Promise<void> {
  const ask = () =>
    fetch(`${url}/agent`, { method: "POST" }).then(
      ({ status }) => status,
      () => 0,
    );
  await vi.waitUntil(async () => (await ask()) === 402, { interval: 20, timeout: 20_000 });
}

/** Opens the books of a shop; `ledger` where it is not the running gateway's. */
export function createAuditor(shop: Shop, ledger: () => Ledger = () => shop.gateway.ledger): Auditor {
  const sales: Sale[] = [];
  const moved = (sale: Sale): number => transfers(shop, sale.id).length;

  async function sell({
    buyer,
    path = "/v1/chat/completions",
    body = {},
    v1,
  }: SaleOptions = {}): Promise<Sale> {
    const payer = buyer ?? (await createBuyer(shop));
    const url = shop.url + path;
    const content = `call ${sales.length}`;
    const asked = path.endsWith("/agent")
      ? { prompt: content, ...body }
      : { model: "gpt-test", messages: [{ role: "user", content }], ...body };
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(asked),
    };
    const payment = await (v1 === true ? payer.signV1 : payer.sign)(url, init);
    const sale: Sale = {
      id: idOf(payment),
      payer: payer.address,
      account: `wallet:${payer.address}`,
      url,
      init,
      payment,
      exchanges: [],
      async send() {
        const before = settlesOf(shop, sale.id);
        const response = await payer.send(url, init, payment);
        const answer = await read(response);
        const settles = settlesOf(shop, sale.id) - before;
        const exchange = { ...answer, settles, reason: (await ledger()?.payment(sale.id))?.reason };
        sale.exchanges.push(exchange);
        return exchange;
      },
    };
    sales.push(sale);
    return sale;
  }

  async function audit(): Promise<void> {
    for (const sale of sales) await checkSale(shop, ledger(), sale);
    await checkWallets(ledger(), sales);
    checkCalls(shop, sales);
  }

  /** A call during a round shares it, and that one may have asked the chain before: so two. */
  async function sweep(): Promise<void> {
    await shop.gateway.payments.reconciler.sweep();
    await shop.gateway.payments.reconciler.sweep();
  }

  async function isAnyWatched(): Promise<boolean> {
    const records = await Promise.all(sales.map(({ id }) => ledger().payment(id)));
    return records.some((record) => record?.watched === true);
  }

  return {
    sell,
    moved,
    sweep,
    record: (sale) => ledger().payment(sale.id),
    state: async (sale) => (await ledger().payment(sale.id))?.state,
    audit,
    async close() {
      shop.localnet.warp(PAST_EXPIRY);
      // A round asks about so many watched payments and no more.
      for (let rounds = 0; rounds < 20 && (await isAnyWatched()); rounds += 1) await sweep();
      await sweep();
      await audit();
      for (const sale of sales) {
        const record = await ledger().payment(sale.id);
        const ends = moved(sale) > 0 ? ["settled", "delivered", "credited"] : ["released", "open", "none"];
        expect(ends, `${sale.id}: ${record?.reason}`).toContain(record?.state ?? "none");
        expect(record?.watched ?? false).toBe(false);
      }
    },
  };
}

/** The id that the ledger and the chain know the payment by. */
function idOf(payment: Readonly<Record<string, string>>): string {
  const [header = ""] = Object.values(payment);
  return idOfPayload(JSON.parse(Buffer.from(header, "base64").toString("utf8")));
}

function idOfPayload(payload: { readonly payload: { readonly transaction: string } }): string {
  const decoded = decodePayment(payload.payload.transaction);
  if (!decoded.ok) throw new Error(`not a payment: ${decoded.problem}`);
  return decoded.payment.id;
}

function settlesOf(shop: Shop, id: string): number {
  const sent = shop.facilitator.log.filter(({ operation }) => operation === "settle");
  return sent.filter(({ body }) => {
    const { paymentPayload } = body as { paymentPayload: { payload: { transaction: string } } };
    return idOfPayload(paymentPayload) === id;
  }).length;
}

function transfers(shop: Shop, id: string) {
  return shop.localnet
    .transfersTo(shop.localnet.merchant)
    .filter(({ messageHash, amount }) => messageHash === id && amount > 0n);
}

async function read(response: Response): Promise<Omit<Exchange, "settles" | "reason">> {
  const text = await response.text();
  const retryAfter = response.headers.get("retry-after");
  const body = parse(text);
  const error = typeof body?.error === "object" ? body.error : undefined;
  return {
    status: response.status,
    // A 402 has the protocol's body, whose `error` is our code.
    code: typeof body?.error === "string" ? body.error : error?.code,
    retryAfter: retryAfter === null ? undefined : Number(retryAfter),
    text,
    error,
    transaction: response.headers.has("payment-response") ? proofOf(response).transaction : undefined,
  };
}

function parse(text: string) {
  try {
    return JSON.parse(text) as { error?: string | (NonNullable<Exchange["error"]> & { code: string }) };
  } catch {
    return undefined;
  }
}

async function checkSale(shop: Shop, ledger: Ledger, sale: Sale): Promise<void> {
  const record = await ledger.payment(sale.id);
  const landed = transfers(shop, sale.id);
  const served = sale.exchanges.filter(({ status }) => status === 200);
  const entries = (await ledger.journal(sale.account)).filter(
    (entry) => entry.reference === `payment:${sale.id}`,
  );
  const what = `${sale.id} is ${record?.state} (${record?.reason})`;

  expect(landed.length, `${what}: the chain moves it at most once`).toBeLessThanOrEqual(1);
  expect(entries.length, `${what}: one credit, if it is credited`).toBe(record?.state === "credited" ? 1 : 0);
  for (const { transaction } of served) {
    // Its own, or that of a twin.
    const paid = shop.localnet
      .transfersTo(shop.localnet.merchant)
      .filter((one) => one.signature === transaction);
    expect(paid, `${what}: nobody is served without a transfer`).toMatchObject([{ payer: sale.payer }]);
    if (record !== undefined)
      expect(["settled", "delivered"], `${what}: served, so not owed`).toContain(record.state);
  }
  if (["settled", "delivered", "credited"].includes(record?.state ?? "none")) {
    const [transfer] = landed;
    expect(transfer, `${what}: so the chain has it`).toMatchObject({
      payer: sale.payer,
      amount: record?.amount,
    });
    expect(record?.transaction).toBe(transfer?.signature);
  } else if (landed.length > 0) {
    const decidable = ["settling", "unknown"].includes(record?.state ?? "none") || record?.watched;
    expect(decidable, `${what}: it landed, so somebody will ask the chain`).toBe(true);
  }
  for (const { status, settles, reason = "" } of sale.exchanges) {
    if (status === 402 && settles > 0)
      expect(settleReasonMeaning(reason), `${what}: 402, ${reason}`).toBe("refused");
  }
}

/** Each balance is the sum of its entries, and each entry belongs to a payment. */
async function checkWallets(ledger: Ledger, sales: readonly Sale[]): Promise<void> {
  for (const account of new Set(sales.map((sale) => sale.account))) {
    const entries = await ledger.journal(account);
    const total = entries.reduce((sum, { amount }) => sum + amount, 0n);
    expect(await ledger.balance(account)).toBe(total);
    const known = sales.map(({ id }) => `payment:${id}`);
    for (const { reference } of entries) expect(known).toContain(reference);
  }
}

/** However many payments were signed for a call of one payer: the money moved once. */
function checkCalls(shop: Shop, sales: readonly Sale[]): void {
  const moves = new Map<string, number>();
  for (const { id, payer, url, init } of sales) {
    const call = `${payer} ${url} ${init.body}`;
    moves.set(call, (moves.get(call) ?? 0) + transfers(shop, id).length);
  }
  for (const [call, count] of moves) expect(count, call).toBeLessThanOrEqual(1);
}
