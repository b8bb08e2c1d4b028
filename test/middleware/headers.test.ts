import { createHash } from "node:crypto";
import type { Response } from "express";
import { describe, expect, test } from "vitest";
import { proofOf } from "../support/buyer.ts";
import { MERCHANT } from "./settlers.ts";
import { FILE } from "./sold-handlers.ts";
import { factsOf, useStand } from "./stand.ts";
import { rawCall, whole } from "./wire.ts";

describe.each(["express", "node"] as const)("headers of what is sold in %s", (kind) => {
  const stand = useStand(kind);

  test("the official client pays by itself and reads the proof", async () => {
    const sold = stand().sell((_req, res) => res.end("paid"));
    const buyer = await stand().buyer();
    const answer = await buyer.fetch(sold.url);
    expect(await answer.text()).toBe("paid");
    const [transaction] = stand()
      .facilitator.log.filter(({ operation }) => operation === "settle")
      .slice(-1);
    expect(proofOf(answer)).toMatchObject({
      success: true,
      payer: buyer.address,
      network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
      transaction: JSON.parse(transaction?.answer?.body ?? "{}").transaction,
    });
    expect(answer.headers.get("x-payment-response")).toBe(answer.headers.get("payment-response"));
  });

  test("the official v1 client is served too", async () => {
    const sold = stand().sell((_req, res) => res.end("paid"));
    const answer = await (await stand().buyer()).fetchV1(sold.url);
    expect(await answer.text()).toBe("paid");
    expect(answer.headers.get("x-payment-response")).not.toBeNull();
  });

  test("an unpaid answer says what is due, to be read from any origin, and is not cached", async () => {
    const sold = stand().sell((_req, res) => res.end("never"));
    const answer = await fetch(sold.url, { headers: { origin: "https://app.test" } });
    expect(answer.status).toBe(402);
    const required = Buffer.from(answer.headers.get("payment-required") ?? "", "base64").toString("utf8");
    expect(JSON.parse(required)).toMatchObject({
      x402Version: 2,
      resource: { url: `http://shop.test${new URL(sold.url).pathname}` },
      accepts: [{ scheme: "exact", amount: "20000", payTo: MERCHANT }],
    });
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.headers.get("access-control-expose-headers")).toMatch(/PAYMENT-REQUIRED.*PAYMENT-RESPONSE/);
    expect(answer.headers.get("cache-control")).toBe("private, no-store");
    expect(sold.runs).toBe(0);
  });

  test("a browser may ask before it pays; asking runs nothing", async () => {
    const sold = stand().sell((_req, res) => res.end("never"));
    const answer = await fetch(sold.url, {
      method: "OPTIONS",
      headers: {
        origin: "https://app.test",
        "access-control-request-method": "POST",
        "access-control-request-headers": "payment-signature",
      },
    });
    expect(answer.status).toBe(204);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.headers.get("access-control-allow-methods")).toContain("POST");
    expect(answer.headers.get("access-control-allow-headers")).toMatch(/PAYMENT-SIGNATURE/i);
    expect(answer.headers.get("access-control-allow-headers")).not.toMatch(/authorization/i);
    expect(sold.runs).toBe(0);
  });

  test("the handler's own headers are kept but for the caching of what was paid for", async () => {
    const sold = stand().sell((_req, res) => {
      res.setHeader("Cache-Control", "public, max-age=9999").setHeader("ETag", '"e"').setHeader("X-Own", "1");
      res.setHeader("PAYMENT-RESPONSE", "forged");
      res.end("ok");
    });
    const payment = await stand().sign(sold.url);
    const answer = await fetch(sold.url, { headers: payment });
    expect(answer.headers.get("cache-control")).toBe("private, no-store");
    expect(answer.headers.get("etag")).toBe('"e"');
    expect(answer.headers.get("x-own")).toBe("1");
    expect(proofOf(answer)).toMatchObject({ success: true, payer: factsOf(payment).payer });
  });

  test("a handler's own head of HEAD requests is never run: 402 unpaid, 405 with a payment", async () => {
    const sold = stand().sell((_req, res) => res.setHeader("X-Secret", "1").end("never"));
    const unpaid = await whole(rawCall(sold.url, {}, { method: "HEAD" }));
    expect(unpaid).toMatchObject({ status: 402, body: "" });
    expect(unpaid.headers["payment-required"]).toBeDefined();
    const payment = await stand().sign(sold.url);
    const paid = await whole(rawCall(sold.url, payment, { method: "HEAD" }));
    expect(paid).toMatchObject({ status: 405, body: "" });
    expect(paid.headers["allow"]).toBe("GET");
    expect(paid.headers["x-secret"]).toBeUndefined();
    expect(stand().row(payment)).toBeUndefined();
    expect(sold.runs).toBe(0);
  });
});

describe("requests with conditions, in Express, which answers them with 304", () => {
  const stand = useStand("express");
  const body = JSON.stringify({ a: 1 });
  const etag = `W/"${body.length.toString(16)}-${createHash("sha1").update(body).digest("base64").slice(0, 27)}"`;
  const CONDITIONS: Readonly<Record<string, string>> = {
    "if-none-match": etag,
    "if-modified-since": new Date(Date.now() + 86_400_000).toUTCString(),
    "if-match": '"other"',
    "if-unmodified-since": new Date(0).toUTCString(),
  };

  test("the condition is one that Express meets", async () => {
    const url = stand().give((_req, res) => (res as unknown as Response).json({ a: 1 }));
    expect((await whole(rawCall(url, {}, { headers: { "if-none-match": etag } }))).status).toBe(304);
  });

  test.each(Object.entries(CONDITIONS))("%s: a paid answer is never empty", async (name, value) => {
    const json = stand().sell((_req, res) => (res as unknown as Response).json({ a: 1 }));
    const file = stand().sell((_req, res) => (res as unknown as Response).sendFile(FILE));
    for (const { url } of [json, file]) {
      const payment = await stand().sign(url);
      const answer = await whole(rawCall(url, payment, { headers: { [name]: value } }));
      expect(answer.status).toBe(200);
      expect(answer.body).not.toBe("");
      await stand().reaches(payment, "delivered");
    }
  });

  test("a range on a condition is not given from another version", async () => {
    const { url } = stand().sell((_req, res) => (res as unknown as Response).sendFile(FILE));
    const headers = { range: "bytes=0-9", "if-range": '"older"' };
    const conditional = await whole(rawCall(url, await stand().sign(url), { headers }));
    expect(conditional.status).toBe(200);
    const plain = await whole(rawCall(url, await stand().sign(url), { headers: { range: "bytes=0-9" } }));
    expect(plain).toMatchObject({ status: 206, headers: { "content-length": "10" } });
  });
});
