import { PassThrough } from "node:stream";
import type { RequestHandler } from "express";
import { describe, expect, test } from "vitest";
import { proofOf } from "../support/buyer.ts";
import { type Fault, faults } from "../support/faulty-facilitator.ts";
import { type Handler, type Payment, useStand } from "./stand.ts";
import { deferred, rawCall, type WholeAnswer, whole, written } from "./wire.ts";

const SECRET = "the-handler-s-secret";

/** A middleware of the operator's, before the paywall; Node appends to such a list in place. */
const numbered: RequestHandler = (_req, res, next) => {
  res.setHeader("X-Request-Id", ["7"]);
  next();
};

/** Answers that must not leak when their settlement fails. */
const ANSWERS: Readonly<Record<string, Handler>> = {
  "a JSON answer": (_req, res) => {
    res.setHeader("X-Secret", SECRET).setHeader("Set-Cookie", SECRET).setHeader("X-Request-Id", SECRET);
    res.writeHead(201, SECRET, {
      "Content-Type": "application/secret",
      ETag: SECRET,
      "Content-Length": SECRET.length,
    });
    res.end(SECRET);
  },
  "a stream": async (_req, res) => {
    res.setHeader("X-Secret", SECRET).appendHeader("X-Request-Id", SECRET);
    res.writeHead(200, { "Content-Type": "text/event-stream", "Content-Encoding": "identity" });
    await written(res, `data: ${SECRET}\n\n`);
    res.end();
  },
  "a flushed head": (_req, res) => {
    res.setHeader("X-Secret", SECRET);
    res.flushHeaders();
    res.end(SECRET);
  },
  "an early hint": async (_req, res) => {
    const hints = { link: `</${SECRET}>; rel=preload`, "x-secret": SECRET };
    await new Promise<void>((sent) => res.writeEarlyHints(hints, sent));
    res.end(SECRET);
  },
};

const UNKNOWN: Readonly<Record<string, Fault>> = {
  "answers 500": faults.status(500),
  "answers HTML": faults.html,
  "answers garbage with 200": faults.garbage200,
  "drops the connection": faults.reset,
  "drops the connection after settling": faults.dropAfter,
  "gives a reason that may have landed": faults.reason("transaction_failed"),
};

describe.each(["express", "node"] as const)("the answer of a handler in %s, when settling fails", (kind) => {
  const stand = useStand(kind);

  async function buy(
    handler: Handler,
    fault: Fault,
  ): Promise<{ answer: WholeAnswer; payment: Payment; url: string }> {
    const sold = stand().sell(
      handler,
      {},
      {
        before: [numbered],
      },
    );
    const payment = await stand().sign(sold.url);
    stand().facilitator.fail("settle", fault);
    return { answer: await whole(rawCall(sold.url, payment)), payment, url: sold.url };
  }

  function expectNothingLeaked({ message, headers, body, trailers, early }: WholeAnswer): void {
    expect(JSON.stringify({ message, headers, body, trailers, early })).not.toContain(SECRET);
    for (const name of ["x-secret", "set-cookie", "etag", "content-encoding", "payment-response"]) {
      expect(headers[name]).toBeUndefined();
    }
    expect(headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(headers["cache-control"]).toBe("private, no-store");
    if (kind === "express") expect(headers["x-request-id"]).toBe("7");
  }

  test.each(Object.entries(ANSWERS))(
    "%s is withheld when it is refused: 402 with fresh requirements",
    async (_name, handler) => {
      const { answer, payment, url } = await buy(
        handler,
        faults.reason("invalid_exact_svm_payload_transaction_simulation_failed"),
      );
      expect(answer.status).toBe(402);
      expectNothingLeaked(answer);
      const required = JSON.parse(
        Buffer.from(String(answer.headers["payment-required"]), "base64").toString("utf8"),
      );
      expect(required).toMatchObject({
        x402Version: 2,
        error: "payment_refused",
        accepts: [{ amount: "20000" }],
      });
      await stand().reaches(payment, "released");
      // Fresh requirements: another payment under them is good.
      const buyer = await stand().buyer();
      expect((await buyer.fetch(url)).status).toBeLessThan(300);
    },
  );

  test.each(
    Object.entries(ANSWERS).flatMap(([name, handler]) =>
      Object.entries(UNKNOWN).map(([how, fault]) => [name, how, handler, fault] as const),
    ),
  )("%s is withheld when the facilitator %s: 503, never 402", async (_name, _how, handler, fault) => {
    const { answer, payment } = await buy(handler, fault);
    expect(answer.status).toBe(503);
    expect(answer.headers["retry-after"]).toBe("2");
    expect(JSON.parse(answer.body).error.code).toBe("settlement_unknown");
    expectNothingLeaked(answer);
    await stand().reaches(payment, "unknown");
  });

  test("a stream that goes on after it was refused is stopped", async () => {
    const stopped = deferred<unknown>();
    const { answer } = await buy(async (_req, res) => {
      res.setHeader("Content-Type", "text/event-stream");
      try {
        for (;;) await written(res, "data: more\n\n");
      } catch (error) {
        stopped.resolve(error);
      }
    }, faults.reason("insufficient_funds"));
    expect(answer.status).toBe(402);
    expect(await stopped.promise).toMatchObject({ code: "ERR_STREAM_DESTROYED" });
  });

  test("a handler that fails after it was refused does not spoil the 402", async () => {
    const { answer } = await buy(async (_req, res) => {
      res.setHeader("Content-Type", "text/event-stream");
      await written(res, "data: 1\n\n");
      await new Promise((go) => setImmediate(go));
      throw new Error("late");
    }, faults.reason("insufficient_funds"));
    expect(answer.status).toBe(402);
    expect(JSON.parse(answer.body).accepts).toHaveLength(1);
  });

  test("an upfront settlement that is refused never runs the handler", async () => {
    const sold = stand().sell((_req, res) => res.end("dear"), { settle: "upfront" });
    const payment = await stand().sign(sold.url);
    stand().facilitator.fail("settle", faults.reason("insufficient_funds"));
    expect((await whole(rawCall(sold.url, payment))).status).toBe(402);
    expect(sold.runs).toBe(0);
  });
});

describe("the settle-by deadline", () => {
  const stand = useStand("express", { payment: { settleBy: "1s" } });

  test("settles while the handler still works; then a success is delivered, a failure owed", async () => {
    const finish = deferred();
    const good = stand().sell(async (_req, res) => {
      await finish.promise;
      res.end("slow");
    });
    const bad = stand().sell(async (_req, res) => {
      await finish.promise;
      res.writeHead(500).end("no");
    });
    const left = stand().sell(async (_req, res) => {
      await finish.promise;
      res.end("for the retry");
    });
    const [paidGood, paidBad, paidLeft] = await Promise.all(
      [good, bad, left].map(({ url }) => stand().sign(url)),
    );
    if (!paidGood || !paidBad || !paidLeft) throw new Error("three payments");
    const answers = [fetch(good.url, { headers: paidGood }), fetch(bad.url, { headers: paidBad })];
    const leaving = rawCall(left.url, paidLeft);
    for (const payment of [paidGood, paidBad, paidLeft]) {
      await stand().reaches(payment, "settled");
      expect(stand().calls("settle", payment)).toBe(1);
    }
    leaving.request.destroy();
    finish.resolve();

    const [success, failure] = await Promise.all(answers);
    expect(success?.status).toBe(200);
    expect(await success?.text()).toBe("slow");
    expect(success && proofOf(success)).toMatchObject({ success: true });
    expect(await stand().reaches(paidGood, "delivered")).toMatchObject({ reason: null });
    expect(failure?.status).toBe(500);
    // It was settled, and says so; the credit is the payer's.
    expect(failure && proofOf(failure)).toMatchObject({ success: true });
    await stand().reaches(paidBad, "credited");
    expect(stand().credits(paidBad)).toHaveLength(1);
    expect(stand().credits(paidGood)).toEqual([]);
    let again = await whole(rawCall(left.url, paidLeft));
    while (again.status === 409) again = await whole(rawCall(left.url, paidLeft));
    expect(again).toMatchObject({ status: 200, body: "for the retry" });
    for (const payment of [paidGood, paidBad, paidLeft]) expect(stand().calls("settle", payment)).toBe(1);
  });

  test("settles nothing for an answer whose piped source broke off: 502, and the payment is good again", async () => {
    const sold = stand().sell((_req, res) => {
      const source = new PassThrough();
      res.setHeader("Content-Type", "application/json");
      source.pipe(res);
      source.write('{"a":');
      setImmediate(() => source.destroy());
    });
    const payment = await stand().sign(sold.url);
    expect((await whole(rawCall(sold.url, payment))).status).toBe(502);
    await stand().reaches(payment, "released");
    expect(stand().calls("settle", payment)).toBe(0);
  });
});
