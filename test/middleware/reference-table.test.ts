import { describe, expect, test } from "vitest";
import { startLocalnet } from "../../localnet/index.ts";
import { post } from "../support/buyer.ts";
import { type Fault, faults } from "../support/faulty-facilitator.ts";
import { useStand } from "./stand.ts";
import { closed, deferred, nextText, rawCall, type WholeAnswer, whole, written } from "./wire.ts";

const SSE = { "Content-Type": "text/event-stream" };
const errorOf = (answer: WholeAnswer): string => JSON.parse(answer.body).error.code;

/** What the reference middleware, @x402/express 2.27, was measured to get wrong, case by case; here with the right outcome. */
describe.each(["express", "node"] as const)("where the reference middleware fails, in %s", (kind) => {
  const stand = useStand(kind);

  test.each(["after", "upfront"] as const)(
    "five server-sent events, settled %s: each comes when it is made",
    async (settle) => {
      const turns = [1, 2, 3, 4, 5].map(() => deferred());
      const sold = stand().sell(
        async (_req, res) => {
          res.writeHead(200, SSE);
          for (const turn of turns) {
            await written(res, "data: event\n\n");
            await turn.promise;
          }
          res.end();
        },
        { settle },
      );
      const response = await rawCall(sold.url, await stand().sign(sold.url)).response;
      for (const turn of turns) {
        expect(await nextText(response)).toBe("data: event\n\n");
        turn.resolve();
      }
      expect(await nextText(response)).toBe("");
    },
  );

  test("an endless stream: the client gets it, and the handler is told when the client leaves", async () => {
    const told = deferred();
    const sold = stand().sell(async (_req, res) => {
      res.writeHead(200, SSE);
      await written(res, "data: first of many\n\n");
      await closed(res);
      told.resolve();
    });
    const payment = await stand().sign(sold.url);
    const response = await rawCall(sold.url, payment).response;
    expect(await nextText(response)).toBe("data: first of many\n\n");
    response.destroy();
    await told.promise;
    await stand().reaches(payment, "delivered");
  });

  test("res.writeHead(500): not charged", async () => {
    const sold = stand().sell((_req, res) => res.writeHead(500).end("no"));
    const payment = await stand().sign(sold.url);
    expect((await whole(rawCall(sold.url, payment))).status).toBe(500);
    await stand().reaches(payment, "released");
    expect(stand().calls("settle", payment)).toBe(0);
  });

  test("awaiting the callback of res.write: no deadlock", async () => {
    const sold = stand().sell(async (_req, res) => {
      await written(res, "one ");
      await written(res, "two");
      res.end();
    });
    expect((await whole(rawCall(sold.url, await stand().sign(sold.url)))).body).toBe("one two");
  });

  test("the client leaves while the handler works: not charged", async () => {
    const working = deferred();
    const sold = stand().sell(async (_req, res) => {
      working.resolve();
      await closed(res);
      res.end("to nobody");
    });
    const payment = await stand().sign(sold.url);
    const call = rawCall(sold.url, payment);
    await working.promise;
    call.request.destroy();
    await stand().reaches(payment, "released");
    expect(stand().calls("settle", payment)).toBe(0);
  });

  test.each<[string, Fault]>([
    ["answers 5xx", faults.status(503)],
    ["drops the socket", faults.reset],
  ])("the facilitator %s when asked to settle: 503 and unknown, not 402", async (_name, fault) => {
    const sold = stand().sell((_req, res) => res.setHeader("X-Secret", "1").end("secret"));
    const payment = await stand().sign(sold.url);
    stand().facilitator.fail("settle", fault);
    const answer = await whole(rawCall(sold.url, payment));
    expect(answer.status).toBe(503);
    expect(errorOf(answer)).toBe("settlement_unknown");
    expect(answer.headers["x-secret"]).toBeUndefined();
    await stand().reaches(payment, "unknown");
  });

  // A body of 200 MiB: memory.test.ts, for it needs the process to itself.

  test.each(["", "%%%", "e30=", Buffer.from('{"x402Version":2,"payload":7}').toString("base64")])(
    "a malformed PAYMENT-SIGNATURE (%j): 400",
    async (header) => {
      const sold = stand().sell((_req, res) => res.end("never"));
      const answer = await whole(rawCall(sold.url, { "PAYMENT-SIGNATURE": header }));
      expect(answer.status).toBe(400);
      expect(sold.runs).toBe(0);
    },
  );

  test("a v1 client: the 402's body is its envelope, and X-PAYMENT pays", async () => {
    const sold = stand().sell((_req, res) => res.end("v1"));
    expect(await (await fetch(sold.url)).json()).toMatchObject({
      x402Version: 1,
      accepts: [{ scheme: "exact", network: "solana", maxAmountRequired: "20000" }],
    });
    const payment = await (await stand().buyer()).signV1(sold.url);
    expect(Object.keys(payment)).toEqual(["X-PAYMENT"]);
    expect((await whole(rawCall(sold.url, payment))).body).toBe("v1");
    await stand().reaches(payment, "delivered");
  });

  test("five copies of one payment at once: the handler runs once", async () => {
    const sold = stand().sell((_req, res) => res.end("once"));
    const payment = await stand().sign(sold.url);
    const copies = await Promise.all([1, 2, 3, 4, 5].map(() => whole(rawCall(sold.url, payment))));
    expect(sold.runs).toBe(1);
    expect(stand().calls("settle", payment)).toBe(1);
    for (const { status, body } of copies) {
      if (status === 200) expect(body).toBe("once");
      else expect([status, JSON.parse(body).error.code]).toEqual([409, "payment_in_progress"]);
    }
    expect(copies.some(({ status }) => status === 200)).toBe(true);
  });

  test("ten payments, each sent twice at once: ten served, ten paid", async () => {
    const sold = stand().sell((_req, res) => res.end("paid"));
    const payments = await Promise.all(Array.from({ length: 10 }, () => stand().sign(sold.url)));
    await Promise.all(
      payments.flatMap((payment) => [rawCall(sold.url, payment), rawCall(sold.url, payment)]).map(whole),
    );
    expect(sold.runs).toBe(10);
    for (const payment of payments) {
      await stand().reaches(payment, "delivered");
      expect(stand().calls("settle", payment)).toBe(1);
    }
  });

  test("a payment for /cheap, sent to /dear at the same price: refused", async () => {
    const cheap = stand().sell((_req, res) => res.end("cheap"));
    const dear = stand().sell((_req, res) => res.end("dear"));
    const payment = await stand().sign(cheap.url);
    const answer = await whole(rawCall(dear.url, payment));
    expect(answer.status).toBe(402);
    expect(JSON.parse(answer.body).error).toBe("payment_mismatch");
    expect(dear.runs).toBe(0);
    expect((await whole(rawCall(cheap.url, payment))).body).toBe("cheap");
  });

  test("HEAD on a sold GET: 402, the handler does not run", async () => {
    const sold = stand().sell((_req, res) => res.setHeader("X-Secret", "1").end("never"));
    const answer = await whole(rawCall(sold.url, {}, { method: "HEAD" }));
    expect(answer.status).toBe(402);
    expect(answer.headers["x-secret"]).toBeUndefined();
    expect(sold.runs).toBe(0);
  });

  test("the facilitator is down at verify: 503, nothing spent, and the payment is good later", async () => {
    const sold = stand().sell((_req, res) => res.end("later"));
    const payment = await stand().sign(sold.url);
    await stand().facilitator.down();
    const answer = await whole(rawCall(sold.url, payment));
    await stand().facilitator.up();
    expect(answer.status).toBe(503);
    expect(errorOf(answer)).toBe("facilitator_unavailable");
    expect(answer.headers["retry-after"]).toBeDefined();
    expect(sold.runs).toBe(0);
    expect((await whole(rawCall(sold.url, payment))).body).toBe("later");
  });
});

describe("where the reference middleware loses the payment, on a chain", () => {
  const stand = useStand("express", {}, () => startLocalnet({ rpcPort: 0, facilitatorPort: 0, slotMs: 0 }));

  test("the settlement lands but its answer is lost: 503, and the same payment again is served without another", async () => {
    const sold = stand().sell((req, res) => {
      res.setHeader("X-Own", "1");
      req.pipe(res);
    });
    const init = post({ question: 1 });
    const payment = await stand().sign(sold.url, init);
    stand().facilitator.fail("settle", faults.dropAfter);
    const send = () => fetch(sold.url, { ...init, headers: { ...(init.headers as object), ...payment } });
    const lost = await send();
    expect(lost.status).toBe(503);
    expect(lost.headers.get("x-own")).toBeNull();
    expect(await lost.json()).toMatchObject({ error: { code: "settlement_unknown" } });

    const again = await send();
    expect(again.status).toBe(200);
    expect(await again.json()).toEqual({ question: 1 });
    expect(again.headers.get("x-own")).toBe("1");
    expect(again.headers.get("payment-response")).not.toBeNull();
    await stand().reaches(payment, "delivered");
    expect(stand().calls("settle", payment)).toBe(1);
  });
});
