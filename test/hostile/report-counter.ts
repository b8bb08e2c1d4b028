import type { PaymentPayload } from "@x402/core/types";
import express, { type RequestHandler } from "express";
import { Pool } from "../../facilitator-client/http-pool.ts";
import { createBuyer } from "../support/buyer.ts";
import { createForger, v2 } from "./forger.ts";
import { openStall, type Stall } from "./stall.ts";

export const PATH = "/report/1";
export const CONTENT = "what is sold";
export const HEADER_V2 = "PAYMENT-SIGNATURE";
export const HEADER_V1 = "X-PAYMENT";

/** A stall that sells one report, and honest payments to forge from; one of them was served already. */
export interface ReportCounter {
  readonly stall: Stall;
  /** Never used. Like the next, without the parts that nothing depends on. */
  readonly unused: PaymentPayload;
  readonly delivered: PaymentPayload;
  /** Of protocol v1, never used. */
  readonly unusedV1: Readonly<Record<string, unknown>>;
  /** Over keep-alive connections. */
  ask(
    headers: Record<string, string | string[]>,
  ): Promise<{ readonly status: number; readonly text: string }>;
  close(): Promise<void>;
}

export async function openReportCounter(): Promise<ReportCounter> {
  const stall = await openStall(PATH, (paywall, ran) => {
    const app = express();
    app.get("/report/:id", paywall({ price: "$0.02" }) as RequestHandler, (_req, res) => {
      ran.push("report");
      res.json({ content: CONTENT });
    });
    return app;
  });
  const pool = new Pool(stall.url, { connections: 32, pipelining: 1 });
  const buyer = await createBuyer({ localnet: { rpcUrl: stall.rpc.url, fund: async () => {} } } as never);
  const signedV1 = (await buyer.signV1(stall.url + PATH))[HEADER_V1] ?? "";
  const counter: ReportCounter = {
    stall,
    unused: await sign(stall),
    delivered: await sign(stall),
    unusedV1: JSON.parse(Buffer.from(signedV1, "base64").toString("utf8")),
    async ask(headers) {
      const { statusCode, body } = await pool.request({ method: "GET", path: PATH, headers });
      return { status: statusCode, text: await body.text() };
    },
    async close() {
      await pool.close();
      await stall.close();
    },
  };
  const { status } = await counter.ask(v2(counter.delivered));
  if (status !== 200) throw new Error(`an honest payment was answered ${status}`);
  return counter;
}

/** A payer of its own for each payment. */
async function sign(stall: Stall): Promise<PaymentPayload> {
  const forger = await createForger(stall.rpc.url);
  const { x402Version, accepted, payload } = await forger.sign(await forger.challenge(stall.url + PATH));
  return { x402Version, accepted, payload };
}
