import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import express, { type Express, type RequestHandler } from "express";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import {
  createPaywall,
  type PaywallFactory,
  type PaywallOptions,
  type SoldRoute,
} from "../../server/index.ts";
import { openLasting } from "../../server/ledger/lasting-database.ts";
import { decodePayment } from "../../server/payment/transaction.ts";
import { type Buyer, createBuyer } from "../support/buyer.ts";
import { type FaultyFacilitator, startFaultyFacilitator } from "../support/faulty-facilitator.ts";
import { type Settlers, startStubSettlers } from "./settlers.ts";

export const PRICE = 20_000n;

const FINAL = ["delivered", "credited"];

/** A handler as Express and `node:http` both can run it. */
export type Handler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => unknown;

type Operation = keyof FaultyFacilitator["calls"];

export type Kind = "express" | "node";

/** One payment, as the caller holds it. */
export type Payment = Record<string, string>;

export interface PaymentRow {
  readonly state: string;
  readonly reason: string | null;
  readonly tx: string | null;
}

export interface Sold {
  readonly url: string;
  /** How often the handler was run. */
  runs: number;
}

export interface Stand {
  readonly kind: Kind;
  readonly origin: string;
  readonly facilitator: FaultyFacilitator;
  readonly paywall: PaywallFactory;
  readonly rpcUrl: string;
  /** Puts a handler behind a paywall of its own. In Express, `around` are the middlewares before and behind the paywall. */
  sell(handler: Handler, route?: Partial<SoldRoute>, around?: Around): Sold;
  /** The same handler for nothing, to compare with; its url. */
  give(handler: Handler): string;
  /** A path of the Express app, with these middlewares; its url. */
  mount(install: (app: Express, path: string) => void): string;
  /** A new wallet: what one test does to its payer must not be felt by another. */
  buyer(): Promise<Buyer>;
  /** Signs for this url with a new wallet. */
  sign(url: string, init?: RequestInit): Promise<Payment>;
  /** Calls of the facilitator for this payment. */
  calls(operation: Operation, payment: Payment): number;
  row(payment: Payment): PaymentRow | undefined;
  /**
   * Waits until the ledger, which is written behind the answer, has this payment in one of these states. `parked`: settled, and nobody
   * works on it.
   */
  reaches(payment: Payment, ...states: string[]): Promise<PaymentRow>;
  /** Journal entries of the payer's wallet account. */
  credits(payment: Payment): readonly { amount: bigint; reference: string; balance: bigint }[];
  close(): Promise<void>;
}

export interface Around {
  readonly before?: readonly RequestHandler[];
  readonly behind?: readonly RequestHandler[];
}

/** A shop that sells handlers: real ledger, real HTTP; a facilitator without a chain, which fails when told. */
async function openStand(
  kind: Kind,
  options: Partial<PaywallOptions> = {},
  settlers?: Settlers,
): Promise<Stand> {
  const dataDir = await mkdtemp(join(tmpdir(), "farebox-middleware-"));
  const settling = settlers ?? (await startStubSettlers());
  const facilitator = await startFaultyFacilitator(settling.facilitatorUrl);
  const faults: unknown[] = [];
  const paywall = await createPaywall({
    network: "local",
    payTo: settling.merchant,
    publicUrl: "http://shop.test",
    facilitator: facilitator.url,
    rpcUrl: settling.rpcUrl,
    memoSecret: "test-secret-test-secret-test-secret-1",
    dataDir,
    logLevel: "silent",
    onFatal: (error) => faults.push(error),
    ...options,
  });
  const app = express();
  const plain = new Map<string, (req: IncomingMessage, res: ServerResponse) => void>();
  const server = createServer((req, res) => {
    const path = (req.url ?? "/").split("?", 1)[0] ?? "/";
    (plain.get(path) ?? app)(req, res);
  });
  const origin = await listenOn(server);
  const books = openLasting(join(dataDir, "ledger.sqlite"), { readonly: true });
  let count = 0;

  const isFree = books
    .prepare<[string], number>("SELECT lease_until IS NULL FROM payment WHERE id = ?")
    .pluck();
  const stand: Stand = {
    kind,
    origin,
    facilitator,
    paywall,
    rpcUrl: settling.rpcUrl,
    sell(handler, route = {}, { before = [], behind = [] } = {}) {
      count += 1;
      const path = `/${kind}/${count}`;
      const sold: Sold = { url: origin + path, runs: 0 };
      const counted: Handler = (req, res, next) => {
        sold.runs += 1;
        return handler(req, res, next);
      };
      const guard = paywall({ price: "$0.02", ...route });
      if (kind === "express") {
        app.all(path, ...before, guard as RequestHandler, ...behind, counted as RequestHandler);
      } else {
        // What `next` returns is the handler's promise, as in any hand-written chain.
        plain.set(path, (req, res) => guard(req, res, () => counted(req, res, failNode) as undefined));
      }
      return sold;
    },
    give(handler) {
      count += 1;
      const path = `/${kind}/${count}`;
      if (kind === "express") app.all(path, handler as RequestHandler);
      else plain.set(path, (req, res) => void handler(req, res, failNode));
      return origin + path;
    },
    mount(install) {
      count += 1;
      const path = `/${kind}/${count}`;
      install(app, path);
      return origin + path;
    },
    buyer: () => createBuyer({ localnet: settling } as never),
    sign: async (url, init) => (await stand.buyer()).sign(url, init),
    calls: (operation, payment) => {
      const { transaction } = payloadOf(payment);
      return facilitator.log.filter(
        (call) => call.operation === operation && JSON.stringify(call.body).includes(transaction),
      ).length;
    },
    row: (payment) =>
      books
        .prepare<[string], PaymentRow>("SELECT state, reason, tx FROM payment WHERE id = ?")
        .get(factsOf(payment).id),
    async reaches(payment, ...states) {
      for (;;) {
        const row = stand.row(payment);
        if (row !== undefined && states.includes(row.state)) return row;
        if (row?.state === "settled" && states.includes("parked") && isFree.get(factsOf(payment).id) === 1)
          return row;
        if (row !== undefined && FINAL.includes(row.state))
          throw new Error(`it is ${row.state}: ${row.reason}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
    credits: (payment) =>
      books
        .prepare<[string], { amount: bigint; reference: string; balance: bigint }>(
          "SELECT amount, reference, balance FROM journal WHERE account = ?",
        )
        .safeIntegers()
        .all(`wallet:${factsOf(payment).payer}`),
    async close() {
      books.close();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      await paywall.close();
      await facilitator.close();
      await settling.close();
      await rm(dataDir, { recursive: true, force: true });
      if (faults.length > 0) throw faults[0];
    },
  };
  // The first 402 needs the facilitator's terms, which the paywall fetches in the background.
  const probe = stand.sell(() => undefined);
  for (;;) {
    const { status } = await fetch(probe.url);
    if (status === 402) break;
  }
  return stand;
}

/** A handler's `next(error)` in a hand-written chain: the error is the handler's. */
function failNode(error?: unknown): void {
  throw error;
}

async function listenOn(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function payloadOf(payment: Payment): { transaction: string } {
  const header = payment["PAYMENT-SIGNATURE"] ?? payment["X-PAYMENT"];
  return JSON.parse(Buffer.from(header ?? "", "base64").toString("utf8")).payload;
}

/** The id and payer of a payment, from its transaction. */
export function factsOf(payment: Payment): { readonly id: string; readonly payer: string } {
  const decoded = decodePayment(payloadOf(payment).transaction);
  if (!decoded.ok) throw new Error(decoded.problem);
  return decoded.payment;
}

/**
 * A stand for one test file, opened and closed with it. Every test fails in which a rejection or an exception reached the
 * process.
 */
export function useStand(
  kind: Kind,
  options: Partial<PaywallOptions> = {},
  startSettlers?: () => Promise<Settlers>,
): () => Stand {
  let stand: Stand | undefined;
  const unnoticed: unknown[] = [];
  const note = (error: unknown): void => void unnoticed.push(error);
  beforeAll(async () => {
    process.on("unhandledRejection", note).on("uncaughtException", note);
    stand = await openStand(kind, options, await startSettlers?.());
  });
  afterEach(async () => {
    // A rejection is reported only when the queue of microtasks is empty.
    await new Promise((resolve) => setImmediate(resolve));
    expect(unnoticed.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await stand?.close();
    process.off("unhandledRejection", note).off("uncaughtException", note);
  });
  return () => {
    if (stand === undefined) throw new Error("the stand opens before the tests");
    return stand;
  };
}
