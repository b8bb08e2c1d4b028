import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, test, vi } from "vitest";
import { proofOf } from "../support/buyer.ts";
import { factsOf, type Handler, type Payment, PRICE, useStand } from "./stand.ts";
import { closed, deferred, nextText, rawCall, whole, written } from "./wire.ts";

const SSE = { "Content-Type": "text/event-stream" };

/** Each gives one event and then fails, when told. */
const BREAKS: Readonly<Record<string, (told: Promise<void>) => Handler>> = {
  "an error": (told) => async (_req, res) => {
    res.writeHead(200, SSE);
    await written(res, "data: 1\n\n");
    await told;
    throw new Error("late");
  },
  "next(error)": (told) => async (_req, res, next) => {
    res.writeHead(200, SSE);
    await written(res, "data: 1\n\n");
    await told;
    next(new Error("late"));
  },
  "destroying the response": (told) => async (_req, res) => {
    res.writeHead(200, SSE);
    await written(res, "data: 1\n\n");
    await told;
    res.destroy();
  },
  "destroying the response with its source's error": (told) => async (_req, res) => {
    res.on("error", () => {});
    res.writeHead(200, SSE);
    await written(res, "data: 1\n\n");
    await told;
    res.destroy(Object.assign(new Error("source"), { code: "ECONNRESET" }));
  },
  "destroying the connection with an error of its own": (told) => async (req, res) => {
    res.writeHead(200, SSE);
    await written(res, "data: 1\n\n");
    await told;
    req.socket.destroy(new Error("of its own"));
  },
  "destroying the connection": (told) => async (req, res) => {
    res.writeHead(200, SSE);
    await written(res, "data: 1\n\n");
    await told;
    req.socket.destroy();
  },
  "a source that fails in a pipeline": (told) => async (_req, res) => {
    res.writeHead(200, SSE);
    const source = Readable.from(
      (async function* () {
        yield "data: 1\n\n";
        await told;
        throw new Error("source");
      })(),
    );
    await pipeline(source, res).catch(() => undefined);
  },
};

describe.each(["express", "node"] as const)("settled, and then the handler in %s breaks it off", (kind) => {
  const stand = useStand(kind);

  async function expectOwedOnce(payment: Payment): Promise<void> {
    await stand().reaches(payment, "credited");
    const { id } = factsOf(payment);
    const [credit, ...more] = stand().credits(payment);
    expect(credit).toMatchObject({ amount: PRICE, balance: PRICE, reference: expect.stringContaining(id) });
    expect(more).toEqual([]);
    expect(stand().calls("settle", payment)).toBe(1);
  }

  test.each(Object.entries(BREAKS))(
    "by %s after the first byte: the payer is credited once",
    async (_name, make) => {
      const told = deferred();
      const sold = stand().sell(make(told.promise));
      const payment = await stand().sign(sold.url);
      const response = await rawCall(sold.url, payment).response;
      expect(await nextText(response)).toBe("data: 1\n\n");
      const broken = once(response, "error");
      told.resolve();
      expect(await broken).toMatchObject([{ code: "ECONNRESET" }]);
      await expectOwedOnce(payment);

      // Owed excludes being served again.
      const again = await whole(rawCall(sold.url, payment));
      expect(again.status).toBe(409);
      expect(JSON.parse(again.body).error).toMatchObject({
        code: "payment_credited",
        details: { account: `wallet:${factsOf(payment).payer}` },
      });
      expect(sold.runs).toBe(1);
      await expectOwedOnce(payment);
    },
  );

  test.each<[string, Handler]>([
    [
      "written",
      (_req, res) => {
        res.setHeader("Content-Length", 600_000);
        res.write(Buffer.alloc(300_000));
        res.end("x".repeat(100_000));
      },
    ],
    [
      "piped from a file that became shorter meanwhile",
      (_req, res) => {
        res.writeHead(200, { "Content-Length": "600000" });
        Readable.from([Buffer.alloc(300_000), "é".repeat(100_000)]).pipe(res);
      },
    ],
  ])(
    "an answer larger than the gate that ends before its declared length, %s: the payer is credited once",
    async (_how, handler) => {
      const sold = stand().sell(handler);
      const payment = await stand().sign(sold.url);
      const response = await rawCall(sold.url, payment).response;
      const broken = once(response, "error");
      response.resume();
      expect(await broken).toMatchObject([{ code: "ECONNRESET" }]);
      await expectOwedOnce(payment);
    },
  );

  test("one larger than the gate that is as long as it says is delivered", async () => {
    const sold = stand().sell((_req, res) => {
      res.setHeader("Content-Length", 500_000);
      res.write("é".repeat(150_000));
      res.end(Buffer.from("é".repeat(200_000), "latin1"));
    });
    const payment = await stand().sign(sold.url);
    expect((await whole(rawCall(sold.url, payment))).body).toHaveLength(350_000);
    await stand().reaches(payment, "delivered");
  });

  describe("by a pipe whose source breaks off, which does not end the answer", () => {
    /** Pipes one event, and gives the source up when told. */
    async function startPiping(error?: Error) {
      const told = deferred();
      const broken = deferred();
      const sold = stand().sell((req, res) => {
        // As one whose error nobody handles, which is thrown before its 'close'.
        const source = new PassThrough({ emitClose: error === undefined });
        source.once("close", broken.resolve).once("error", broken.resolve);
        res.writeHead(200, SSE);
        source.pipe(res);
        source.write("data: 1\n\n");
        // As whoever forwards a request gives its own up with it.
        req.once("aborted", () => source.destroy());
        req.socket.once("end", () => source.destroy());
        void told.promise.then(() => source.destroy(error));
      });
      const payment = await stand().sign(sold.url);
      const call = rawCall(sold.url, payment);
      const response = await call.response;
      expect(await nextText(response)).toBe("data: 1\n\n");
      return { payment, call, response, told, broken };
    }

    test.each([
      ["closes", undefined],
      ["fails", new Error("source")],
    ])(
      "and %s, and the client leaves, which waited for the rest: the payer is credited once",
      async (_how, error) => {
        const { payment, response, told, broken } = await startPiping(error);
        told.resolve();
        await broken.promise;
        response.destroy();
        await expectOwedOnce(payment);
      },
    );

    test.each(["leaves", "says that it sends no more"])(
      "because its client %s: delivered, nothing owed",
      async (how) => {
        const { payment, call, response, broken } = await startPiping();
        if (how === "leaves") response.destroy();
        else call.request.socket?.end();
        await broken.promise;
        await stand().reaches(payment, "delivered");
        expect(stand().credits(payment)).toEqual([]);
      },
    );

    test("and the handler goes on: delivered", async () => {
      const sold = stand().sell(async (_req, res) => {
        res.writeHead(200, SSE);
        for (const text of ["data: 1\n\n", "data: 2\n\n"]) {
          const source = new PassThrough();
          source.pipe(res);
          source.write(text);
          if (text.includes("1")) await once(res, "drain");
          source.destroy();
          await once(source, "close");
        }
        await written(res, "data: 3\n\n");
        await closed(res);
      });
      const payment = await stand().sign(sold.url);
      const response = await rawCall(sold.url, payment).response;
      for (let text = ""; !text.includes("3"); ) text += await nextText(response);
      response.destroy();
      await stand().reaches(payment, "delivered");
      expect(stand().credits(payment)).toEqual([]);
    });
  });

  const UPFRONT_FAILURES: Readonly<Record<string, { fail: Handler; status: number }>> = {
    throws: {
      status: 500,
      fail: () => {
        throw new Error("x");
      },
    },
    "answers 500": { status: 500, fail: (_req, res) => res.writeHead(500).end("no") },
    "answers 404": { status: 404, fail: (_req, res) => res.writeHead(404).end("no") },
    "destroys the response": { status: 502, fail: (_req, res) => res.destroy() },
    "streams only an error": {
      status: 200,
      fail: (_req, res) => res.writeHead(200, SSE).end('data: {"error":"no model"}\n\n'),
    },
  };

  test.each(Object.entries(UPFRONT_FAILURES))(
    "a handler that was paid up front and %s: the payer is credited once",
    async (_name, { fail, status }) => {
      const settledFirst = deferred<number>();
      const sold = stand().sell(
        (req, res, next) => {
          settledFirst.resolve(stand().calls("settle", payment));
          return fail(req, res, next);
        },
        { settle: "upfront" },
      );
      const payment = await stand().sign(sold.url);
      const answer = await whole(rawCall(sold.url, payment));
      expect(await settledFirst.promise).toBe(1);
      expect(answer.status).toBe(status);
      await expectOwedOnce(payment);
    },
  );

  test("a handler that was paid up front and answers is delivered, with the proof", async () => {
    const sold = stand().sell((_req, res) => res.end("dear"), { settle: "upfront" });
    const payment = await stand().sign(sold.url);
    const answer = await fetch(sold.url, { headers: payment });
    expect(await answer.text()).toBe("dear");
    expect(proofOf(answer)).toMatchObject({ success: true });
    await stand().reaches(payment, "delivered");
    expect(stand().calls("settle", payment)).toBe(1);
  });

  test("a client that hangs up mid-stream has had its call: delivered, nothing owed", async () => {
    const gone = deferred();
    const sold = stand().sell(async (_req, res) => {
      res.writeHead(200, SSE);
      await written(res, "data: 1\n\n");
      await closed(res);
      gone.resolve();
    });
    const payment = await stand().sign(sold.url);
    const response = await rawCall(sold.url, payment).response;
    expect(await nextText(response)).toBe("data: 1\n\n");
    response.destroy();
    await gone.promise;
    await stand().reaches(payment, "delivered");
    expect(stand().credits(payment)).toEqual([]);
  });

  test.each(["leaves", "says that it sends no more"])(
    "a client that %s has had its call, also where the handler then destroys the response: delivered, nothing owed",
    async (how) => {
      const sold = stand().sell(async (req, res) => {
        req.socket.once("end", () => res.destroy());
        res.writeHead(200, SSE);
        await written(res, "data: 1\n\n");
      });
      const payment = await stand().sign(sold.url);
      const call = rawCall(sold.url, payment);
      const response = await call.response;
      response.on("error", () => {});
      expect(await nextText(response)).toBe("data: 1\n\n");
      if (how === "leaves") response.destroy();
      else call.request.socket?.end();
      await stand().reaches(payment, "delivered");
      expect(stand().credits(payment)).toEqual([]);
    },
  );

  test.each([
    ["for 2 s, is the client's: delivered, nothing owed", 2_000, "delivered"],
    [
      "for less: it may only read more slowly than its source gives, and the payer is credited",
      1_900,
      "credited",
    ],
  ])("a break while the client does not read, %s", async (_what, ms, state) => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const stuck = deferred();
      const give = deferred();
      const sold = stand().sell(async (_req, res) => {
        res.setHeader("Content-Type", "application/octet-stream");
        res.write(Buffer.alloc(64 * 1_048_576));
        stuck.resolve();
        await give.promise;
        res.destroy();
      });
      const payment = await stand().sign(sold.url);
      const response = await rawCall(sold.url, payment).response;
      const broken = new Promise((go) => response.once("error", go));
      await stuck.promise;
      vi.advanceTimersByTime(ms);
      give.resolve();
      await stand().reaches(payment, state);
      expect(stand().credits(payment)).toHaveLength(state === "credited" ? 1 : 0);
      response.resume();
      await broken;
    } finally {
      vi.useRealTimers();
    }
  });

  test.each([
    ["10 s, which may have made it: delivered", 10_000, "delivered"],
    ["less: the payer is credited", 9_000, "credited"],
  ])("a break after the client had not read for %s", async (_what, ms, state) => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      const stuck = deferred();
      const sold = stand().sell(async (_req, res) => {
        res.setHeader("Content-Type", "application/octet-stream");
        res.write(Buffer.alloc(64 * 1_048_576));
        stuck.resolve();
        await once(res, "drain");
        res.destroy();
      });
      const payment = await stand().sign(sold.url);
      const response = await rawCall(sold.url, payment).response;
      const broken = once(response, "error");
      await stuck.promise;
      vi.advanceTimersByTime(ms);
      response.resume();
      expect(await broken).toMatchObject([{ code: "ECONNRESET" }]);
      await stand().reaches(payment, state);
      expect(stand().credits(payment)).toHaveLength(state === "credited" ? 1 : 0);
    } finally {
      vi.useRealTimers();
    }
  });
});
