import { Readable } from "node:stream";
import { decodePaymentResponseHeader } from "@x402/core/http";
import { describe, expect, test } from "vitest";
import { type Handler, type Payment, PRICE, useStand } from "./stand.ts";
import { closed, deferred, rawCall, type WholeAnswer, whole, written } from "./wire.ts";

const SSE = { "Content-Type": "text/event-stream" };

/** Answers of which the client hears nothing, because it leaves while they are being settled. */
const ANSWERS: Readonly<Record<string, { handler: Handler; body: string; type: string | undefined }>> = {
  "a JSON answer": {
    handler: (_req, res) =>
      res.writeHead(201, { "Content-Type": "application/json", "X-Own": "1" }).end('{"a":1}'),
    body: '{"a":1}',
    type: "application/json",
  },
  "a stream that goes on after the client left": {
    handler: async (_req, res) => {
      res.writeHead(201, { ...SSE, "X-Own": "1" });
      await written(res, "data: 1\n\n");
      await written(res, "data: 2\n\n");
      res.end("data: [DONE]\n\n");
    },
    body: "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n",
    type: "text/event-stream",
  },
};

function proofIn({ headers }: WholeAnswer) {
  return decodePaymentResponseHeader(String(headers["payment-response"]));
}

describe.each(["express", "node"] as const)(
  "a client of %s that leaves while its payment settles",
  (kind) => {
    const stand = useStand(kind);

    test.each(Object.entries(ANSWERS))(
      "%s is stored, and the retry of the same payment gets it",
      async (_name, { handler, body, type }) => {
        const left = deferred();
        const sold = stand().sell((req, res, next) => {
          void closed(res).then(left.resolve);
          return handler(req, res, next);
        });
        const payment = await stand().sign(sold.url);
        const hold = stand().facilitator.hold("settle");
        const call = rawCall(sold.url, payment);
        await hold.arrived;
        call.request.destroy();
        await left.promise;
        hold.release();
        await stand().reaches(payment, "settled");
        const again = await retry(sold.url, payment);
        expect(again).toMatchObject({ status: 201, body, headers: { "content-type": type, "x-own": "1" } });
        expect(proofIn(again)).toMatchObject({ success: true, amount: String(PRICE) });
        await stand().reaches(payment, "delivered");
        expect(stand().calls("settle", payment)).toBe(1);
        expect(sold.runs).toBe(1);
        expect(stand().credits(payment)).toEqual([]);
      },
    );

    // Node closes the connection, and tells so, a turn of the event loop after it has heard that the client has left.
    test.each(
      Object.entries(ANSWERS).flatMap(([what, { handler, body }]) =>
        (["end", "error"] as const).map((event) => [what, event, handler, body] as const),
      ),
    )(
      "%s that comes between its leaving (%s) and the end of the connection is stored for its retry",
      async (_what, event, handler, body) => {
        const running = deferred();
        const sold = stand().sell(
          (req, res, next) => {
            if (sold.runs > 1) return res.end("again");
            req.socket.once(event, () => handler(req, res, next));
            running.resolve();
          },
          { settle: "upfront" },
        );
        const payment = await stand().sign(sold.url);
        const call = rawCall(sold.url, payment);
        await running.promise;
        if (event === "end") call.request.destroy();
        else call.request.socket?.resetAndDestroy();
        await stand().reaches(payment, "parked");
        const again = await retry(sold.url, payment);
        expect(again).toMatchObject({ status: 201, body });
        await stand().reaches(payment, "delivered");
        expect(stand().calls("settle", payment)).toBe(1);
        expect(sold.runs).toBe(1);
      },
    );

    test.each(["end", "error"])("nothing is settled for what comes after its leaving (%s)", async (event) => {
      const running = deferred();
      const sold = stand().sell((req, res) => {
        req.socket.once(event, () => res.end("late"));
        running.resolve();
      });
      const payment = await stand().sign(sold.url);
      const call = rawCall(sold.url, payment);
      await running.promise;
      if (event === "end") call.request.destroy();
      else call.request.socket?.resetAndDestroy();
      await stand().reaches(payment, "released");
      expect(stand().calls("settle", payment)).toBe(0);
    });

    test("a pipe that stopped with the client does not hold the payment: the retry runs the handler again", async () => {
      const left = deferred();
      const sold = stand().sell((_req, res) => {
        res.writeHead(200, SSE);
        if (sold.runs > 1) return res.end("data: again\n\n");
        void closed(res).then(left.resolve);
        const source = new Readable({ read: () => undefined });
        source.push("data: 1\n\n");
        return source.pipe(res);
      });
      const payment = await stand().sign(sold.url);
      const hold = stand().facilitator.hold("settle");
      const call = rawCall(sold.url, payment);
      await hold.arrived;
      call.request.destroy();
      await left.promise;
      hold.release();
      await stand().reaches(payment, "settled");
      const again = await retry(sold.url, payment);
      expect(again).toMatchObject({ status: 200, body: "data: again\n\n" });
      expect(proofIn(again)).toMatchObject({ success: true, amount: String(PRICE) });
      expect(stand().calls("settle", payment)).toBe(1);
      await stand().reaches(payment, "delivered");
    });

    test.each([
      ["an error alone", 'data: {"error":{"message":"boom"}}\n\ndata: [DONE]\n\n'],
      ["no event", ": ping\n\n"],
    ])("a stream with %s, after the client left, owes the payer", async (_, text) => {
      const left = deferred();
      const running = deferred();
      const fail = deferred();
      const sold = stand().sell(
        async (_req, res) => {
          void closed(res).then(left.resolve);
          running.resolve();
          await fail.promise;
          res.writeHead(200, { "Content-Type": "text/event-stream" });
          res.end(text);
        },
        { settle: "upfront" },
      );
      const payment = await stand().sign(sold.url);
      const call = rawCall(sold.url, payment);
      await running.promise;
      call.request.destroy();
      await left.promise;
      fail.resolve();
      await stand().reaches(payment, "credited");
      expect(stand().credits(payment)).toHaveLength(1);
    });

    test("a handler that fails after the client left owes the payer", async () => {
      const left = deferred();
      const fail = deferred();
      const running = deferred();
      const sold = stand().sell(
        async (_req, res) => {
          void closed(res).then(left.resolve);
          running.resolve();
          await fail.promise;
          res.writeHead(500).end("no");
        },
        { settle: "upfront" },
      );
      const payment = await stand().sign(sold.url);
      const call = rawCall(sold.url, payment);
      // Settled upfront, so by now it is paid for.
      await running.promise;
      call.request.destroy();
      fail.resolve();
      await left.promise;
      await stand().reaches(payment, "credited");
      expect(stand().credits(payment)).toHaveLength(1);
    });
  },
);

describe("an answer that was whole when the line broke", () => {
  const stand = useStand("express", { payment: { storeResponseMax: "16MiB", gate: "16MiB" } });

  test("is kept: the retry of the same payment gets all of it", async () => {
    const size = 15 * 1_048_576;
    const sold = stand().sell((_req, res) => res.end(Buffer.alloc(size, "y")));
    const payment = await stand().sign(sold.url);
    const response = await rawCall(sold.url, payment).response;
    response.destroy();
    await stand().reaches(payment, "delivered");
    const again = await retry(sold.url, payment);
    expect(again.status).toBe(200);
    expect(again.body.length).toBe(size);
    expect(sold.runs).toBe(1);
  });
});

/** As `Retry-After` says, while the lease of the first attempt is still being let go. */
async function retry(url: string, payment: Payment): Promise<WholeAnswer> {
  for (;;) {
    const answer = await whole(rawCall(url, payment));
    if (!answer.body.includes("payment_in_progress")) return answer;
  }
}
