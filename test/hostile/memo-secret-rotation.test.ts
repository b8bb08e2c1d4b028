import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PaymentPayload } from "@x402/core/types";
import express, { type RequestHandler } from "express";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PaywallFactory } from "../../server/index.ts";
import { createForger, v2 } from "./forger.ts";
import { openStall, SECRET, type Stall } from "./stall.ts";

const OTHER_SECRET = "another-secret-of-this-gateway-9876543210";

function shop(paywall: PaywallFactory, ran: string[]) {
  const app = express();
  app.get("/report/:id", paywall({ price: "$0.02" }) as RequestHandler, (_req, res) => {
    ran.push("report");
    res.json({ sold: true });
  });
  return app;
}

describe("rotation of the memo secret, over one ledger", () => {
  let dataDir: string;
  let next: Stall | undefined;

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "farebox-hostile-"));
  });

  afterEach(async () => {
    await next?.close();
    next = undefined;
    await rm(dataDir, { recursive: true, force: true });
  });

  async function reopen(memoSecret: string): Promise<Stall> {
    await next?.close();
    next = await openStall("/report/1", shop, { memoSecret, dataDir });
    return next;
  }

  async function ask(at: Stall, payment: PaymentPayload, path = "/report/1"): Promise<number> {
    const response = await fetch(at.url + path, { headers: v2(payment) });
    await response.arrayBuffer();
    return response.status;
  }

  test("the old secret's payments are good while it is listed; after that those are known that were recorded", async () => {
    const before = await reopen(SECRET);
    const [first, second, third] = [await signAt(before), await signAt(before), await signAt(before)];
    expect(await ask(before, first)).toBe(200);
    const during = await reopen(`${OTHER_SECRET},${SECRET}`);
    expect(await ask(during, second)).toBe(200);
    // The stored answer of a payment made before the rotation.
    expect(await ask(during, first)).toBe(200);
    expect(during.ran).toHaveLength(1);
    const issued = await signAt(during);
    const after = await reopen(OTHER_SECRET);
    expect(await ask(after, third)).toBe(402);
    // Whoever is told to sign another one for what was settled pays twice.
    expect(await ask(after, first)).toBe(200);
    expect(await ask(after, second, "/report/2")).toBe(409);
    expect(after.ran).toHaveLength(0);
    expect(after.facilitator.calls.verify).toBe(0);
    expect(await ask(after, issued)).toBe(200);
  });

  test("gateways that have both secrets accept each other's payments, whichever of the two comes first", async () => {
    const [prepared, rotated] = [`${SECRET},${OTHER_SECRET}`, `${OTHER_SECRET},${SECRET}`];
    const byOld = await signAt(await reopen(SECRET));
    const byPrepared = await signAt(await reopen(prepared));
    expect(await ask(await reopen(prepared), byOld)).toBe(200);
    expect(await ask(await reopen(SECRET), byPrepared)).toBe(200);
    const byRotated = await signAt(await reopen(rotated));
    expect(await ask(await reopen(prepared), byRotated)).toBe(200);
    const bySkipped = await signAt(await reopen(rotated));
    expect(await ask(await reopen(SECRET), bySkipped)).toBe(402);
  });

  /** A payer of its own each time: an earlier payment for the same request would serve the call. */
  async function signAt(at: Stall): Promise<PaymentPayload> {
    const payer = await createForger(at.rpc.url);
    return payer.sign(await payer.challenge(`${at.url}/report/1`));
  }
});
