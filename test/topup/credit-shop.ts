import { expect } from "vitest";
import { type KeyedShop, openKeyedShop } from "../keyed/keyed-shop.ts";
import { type Buyer, paymentId, post } from "../support/buyer.ts";
import type { ShopOptions } from "../support/shop.ts";

const CENTS = `topup: { min: "$0.01", max: "$2.00" }\n`;

/** A shop that sells credit from a cent to two dollars. */
export function openCreditShop(options: ShopOptions = {}): Promise<KeyedShop> {
  return openKeyedShop({ ...options, yaml: `${CENTS}${options.yaml ?? ""}` });
}

/** What a request was answered, its JSON read. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
  /** Of an error; a 402 has the protocol's body, whose `error` is our code. */
  readonly code: string | undefined;
}

export async function read(response: Response): Promise<Answer> {
  const text = await response.text();
  const body = JSON.parse(text) as Answer["body"];
  const error = body["error"] as string | { readonly code: string } | undefined;
  const code = typeof error === "string" ? error : error?.code;
  return { status: response.status, headers: response.headers, text, body, code };
}

/** One signed payment for credit; it may be sent any number of times. */
export interface Purchase {
  readonly id: string;
  readonly account: string;
  readonly url: string;
  readonly payment: Record<string, string>;
  readonly init: RequestInit;
  send(change?: {
    readonly body?: unknown;
    readonly bearer?: string;
    readonly path?: string;
  }): Promise<Answer>;
}

export async function order(
  shop: Pick<KeyedShop, "url">,
  buyer: Buyer,
  path: string,
  body: unknown,
  bearer?: string,
): Promise<Purchase> {
  const withBearer = (init: RequestInit, secret: string | undefined): RequestInit => ({
    ...init,
    headers: {
      ...(init.headers as Record<string, string>),
      ...(secret === undefined ? {} : { authorization: `Bearer ${secret}` }),
    },
  });
  const url = shop.url + path;
  const init = withBearer(post(body), bearer);
  const payment = await buyer.sign(url, init);
  return {
    id: paymentId(payment),
    account: `wallet:${buyer.address}`,
    url,
    payment,
    init,
    async send(change = {}) {
      const asked = withBearer(post(change.body ?? body), change.bearer ?? bearer);
      return read(await buyer.send(shop.url + (change.path ?? path), asked, payment));
    },
  };
}

/** What the chain has moved to the seller, by payment. */
export function landed(shop: KeyedShop, mint?: string): ReadonlyMap<string, bigint> {
  const found = shop.localnet.transfersTo(shop.localnet.merchant, mint).filter(({ amount }) => amount > 0n);
  return new Map(found.map(({ messageHash, amount }) => [messageHash, amount]));
}

/** Every transfer is on one account, once, and nothing else is; every balance is its journal. */
export async function expectBooksClosed(
  shop: KeyedShop,
  ledger: KeyedShop["gateway"]["ledger"] = shop.gateway.ledger,
): Promise<void> {
  const credits = new Map<string, bigint>();
  for (const { id } of await ledger.accounts()) {
    for (const { reference, amount } of await ledger.journal(id)) {
      const payment = /^payment:(.*)$/.exec(reference)?.[1];
      if (payment === undefined) continue;
      expect(credits.has(payment), `${payment} is credited once`).toBe(false);
      credits.set(payment, amount);
    }
  }
  expect(credits).toEqual(landed(shop));
  expect(await ledger.checkAccounts()).toEqual([]);
}
