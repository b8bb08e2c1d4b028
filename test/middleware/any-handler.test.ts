import { decodePaymentResponseHeader } from "@x402/fetch";
import { describe, expect, test } from "vitest";
import { LISTS, SOLD_HANDLERS } from "./sold-handlers.ts";
import { factsOf, useStand } from "./stand.ts";
import { rawCall, type WholeAnswer, whole } from "./wire.ts";

/** What selling adds, and what Node decides anew for a body that it has whole. */
const OURS = [
  "access-control-allow-origin",
  "access-control-expose-headers",
  "cache-control",
  "payment-response",
  "x-payment-response",
  "date",
  "transfer-encoding",
  "content-length",
];

function handlersOwn({ headers, ...answer }: WholeAnswer): unknown {
  const own = Object.entries(headers).filter(([name]) => !OURS.includes(name));
  return { ...answer, headers: Object.fromEntries(own) };
}

describe.each(["express", "node"] as const)("sold in %s, an answer is what it is for nothing", (kind) => {
  const stand = useStand(kind);
  const handlers = SOLD_HANDLERS.filter(({ kinds }) => kinds.includes(kind));

  test.each(handlers)("$name", async ({ handler }) => {
    const free = await whole(rawCall(stand().give(handler), {}));
    const sold = stand().sell(handler);
    const payment = await stand().sign(sold.url);
    const answer = await whole(rawCall(sold.url, payment));

    expect(handlersOwn(answer)).toEqual(handlersOwn(free));
    expect(answer.headers["cache-control"]).toBe("private, no-store");
    expect(answer.headers["access-control-allow-origin"]).toBe("*");
    expect(answer.headers["access-control-expose-headers"]).toContain("PAYMENT-RESPONSE");
    const row = await stand().reaches(payment, "delivered");
    expect(decodePaymentResponseHeader(String(answer.headers["payment-response"]))).toMatchObject({
      success: true,
      transaction: row.tx,
      payer: factsOf(payment).payer,
    });
    expect(stand().calls("settle", payment)).toBe(1);
    expect(stand().credits(payment)).toEqual([]);
    expect(sold.runs).toBe(1);
  });

  test.each(Object.entries(LISTS))("%s, beside headers that were set before", async (_name, handler) => {
    const sold = stand().sell((req, res, next) => {
      res.setHeader("X-Set", "before");
      return handler(req, res, next);
    });
    const answer = await whole(rawCall(sold.url, await stand().sign(sold.url)));
    expect(answer).toMatchObject({ status: 200, body: "ok", headers: { "x-a": "1", "x-set": "before" } });
    expect(answer.headers["set-cookie"] ?? answer.headers["x-b"]).toEqual(
      answer.headers["x-b"] === undefined ? ["a=1", "b=2"] : "2",
    );
  });

  test("a length that the handler declared is kept", async () => {
    const sold = stand().sell((_req, res) => res.writeHead(200, { "Content-Length": 5 }).end("12345"));
    const answer = await whole(rawCall(sold.url, await stand().sign(sold.url)));
    expect(answer.headers["content-length"]).toBe("5");
    expect(answer.headers["transfer-encoding"]).toBeUndefined();
  });

  test.each([
    ["a chunk that is neither text nor bytes", (res: { end(chunk: unknown): unknown }) => res.end({ a: 1 })],
    ["a status that HTTP does not have", (res: { writeHead(status: unknown): unknown }) => res.writeHead(42)],
    [
      "a status message with a line break",
      (res: { writeHead(status: number, message: string): unknown }) => res.writeHead(200, "a\r\nb"),
    ],
  ] as [string, (res: unknown) => unknown][])(
    "Node's refusal of %s is the handler's error, and costs nothing",
    async (_name, misuse) => {
      const sold = stand().sell((_req, res) => misuse(res));
      const payment = await stand().sign(sold.url);
      const answer = await whole(rawCall(sold.url, payment));
      expect(answer.status).toBe(500);
      await stand().reaches(payment, "released");
      expect(stand().calls("settle", payment)).toBe(0);
    },
  );
});
