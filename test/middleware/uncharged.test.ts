import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import express, { type RequestHandler, type Response } from "express";
import { describe, expect, test } from "vitest";
import { type Handler, type Kind, useStand } from "./stand.ts";
import { deferred, rawCall, whole, written } from "./wire.ts";

interface Failure {
  readonly name: string;
  readonly kinds: readonly Kind[];
  readonly fail: Handler;
  readonly status: number;
  readonly reason: string;
}

const both: readonly Kind[] = ["express", "node"];
const FAILED = { status: 500, reason: "handler_failed" };
const BROKEN = { status: 502, reason: "handler_destroyed_response" };

const FAILURES: readonly Failure[] = [
  {
    name: "a thrown error",
    kinds: both,
    ...FAILED,
    fail: () => {
      throw new Error("thrown");
    },
  },
  {
    name: "a rejected promise",
    kinds: both,
    ...FAILED,
    fail: async () => {
      await Promise.resolve();
      throw new Error("rejected");
    },
  },
  { name: "next(error)", kinds: both, ...FAILED, fail: (_req, _res, next) => next(new Error("passed on")) },
  {
    name: "status(500).json",
    kinds: ["express"],
    ...FAILED,
    fail: (_req, res) => (res as unknown as Response).status(500).json({ error: "no" }),
  },
  {
    name: "status(404).send",
    kinds: ["express"],
    ...FAILED,
    status: 404,
    fail: (_req, res) => (res as unknown as Response).status(404).send("no"),
  },
  {
    name: "sendFile of a missing file",
    kinds: ["express"],
    ...FAILED,
    status: 404,
    fail: (_req, res) => (res as unknown as Response).sendFile("/no/such/file"),
  },
  {
    name: "next() with nobody behind",
    kinds: ["express"],
    ...FAILED,
    status: 404,
    fail: (_req, _res, next) => next(),
  },
  { name: "writeHead(500)", kinds: both, ...FAILED, fail: (_req, res) => res.writeHead(500).end("no") },
  {
    name: "writeHead(404)",
    kinds: both,
    ...FAILED,
    status: 404,
    fail: (_req, res) => res.writeHead(404).end(),
  },
  {
    name: "writeHead(500) and a stream",
    kinds: both,
    ...FAILED,
    fail: (_req, res) => res.writeHead(500, { "Content-Type": "text/event-stream" }).end("data: x\n\n"),
  },
  {
    name: "a failure that is flushed before its body",
    kinds: both,
    ...FAILED,
    fail: (_req, res) => {
      res.statusCode = 500;
      res.flushHeaders();
      res.end("no");
    },
  },
  {
    name: "destroying the response",
    kinds: both,
    ...BROKEN,
    fail: (_req, res) => res.destroy(new Error("x")),
  },
  {
    name: "destroying the response after bytes that were held",
    kinds: both,
    ...BROKEN,
    fail: async (_req, res) => {
      await written(res, "partial");
      res.destroy();
    },
  },
  {
    name: "an error after bytes that were held",
    kinds: both,
    ...BROKEN,
    fail: async (_req, res) => {
      await written(res, "partial");
      throw new Error("late");
    },
  },
  {
    name: "an SSE stream that throws before its first event",
    kinds: both,
    ...BROKEN,
    fail: async (_req, res) => {
      res.writeHead(200, { "Content-Type": "text/event-stream" });
      await written(res, ": hello\n\n");
      throw new Error("no model");
    },
  },
  {
    name: "a pipeline whose source fails at once",
    kinds: both,
    ...BROKEN,
    fail: (_req, res) =>
      pipeline(
        Readable.from(
          (async function* () {
            yield "partial";
            throw new Error("source");
          })(),
        ),
        res,
      ),
  },
];

describe.each(both)("a failed call in %s costs nothing", (kind) => {
  const stand = useStand(kind);

  test.each(FAILURES.filter(({ kinds }) => kinds.includes(kind)))(
    "$name: never settled, and the same payment buys the next call",
    async ({ fail, status, reason }) => {
      const sold = stand().sell((req, res, next) =>
        sold.runs === 1 ? fail(req, res, next) : res.end("this time it works"),
      );
      const payment = await stand().sign(sold.url);
      const failed = await whole(rawCall(sold.url, payment));
      expect(failed.status).toBe(status);
      expect(failed.headers["payment-response"]).toBeUndefined();
      expect(failed.headers["cache-control"]).toBe("private, no-store");
      expect(failed.body).not.toContain("partial");
      expect(await stand().reaches(payment, "released")).toMatchObject({ reason });
      expect(stand().calls("settle", payment)).toBe(0);

      const again = await whole(rawCall(sold.url, payment));
      expect(again).toMatchObject({ status: 200, body: "this time it works" });
      await stand().reaches(payment, "delivered");
      expect(stand().calls("settle", payment)).toBe(1);
      expect(sold.runs).toBe(2);
      expect(stand().credits(payment)).toEqual([]);
    },
  );

  test("a failure whose answer is broken off too ends the connection", async () => {
    const sold = stand().sell((_req, res) => {
      res.writeHead(500);
      res.write("partial");
      res.destroy();
    });
    const payment = await stand().sign(sold.url);
    await expect(whole(rawCall(sold.url, payment))).rejects.toMatchObject({ code: "ECONNRESET" });
    await stand().reaches(payment, "released");
  });

  test("a client that leaves before settling began is not charged, and the handler sees it leave", async () => {
    const running = deferred();
    const sawClose = deferred();
    const sold = stand().sell(async (_req, res) => {
      if (sold.runs > 1) return res.end("later");
      running.resolve();
      await once(res, "close");
      sawClose.resolve();
      // A handler that answers all the same talks to nobody.
      res.setHeader("X-Late", "1");
      await new Promise<void>((go) => res.end("too late", () => go()));
    });
    const payment = await stand().sign(sold.url);
    const call = rawCall(sold.url, payment);
    await running.promise;
    call.request.destroy();
    await sawClose.promise;
    expect(await stand().reaches(payment, "released")).toMatchObject({ reason: "client_left" });
    expect(stand().calls("settle", payment)).toBe(0);

    const again = await whole(rawCall(sold.url, payment));
    expect(again).toMatchObject({ status: 200, body: "later" });
    expect(stand().calls("settle", payment)).toBe(1);
  });

  test("a handler that writes for ever to a client that left hears of it and holds nobody up", async () => {
    const running = deferred();
    const stopped = deferred<unknown>();
    const sold = stand().sell(async (_req, res) => {
      running.resolve();
      await once(res, "close");
      try {
        for (;;) await written(res, "more");
      } catch (error) {
        stopped.resolve(error);
      }
    });
    const call = rawCall(sold.url, await stand().sign(sold.url));
    await running.promise;
    call.request.destroy();
    expect(await stopped.promise).toMatchObject({ code: "ERR_STREAM_DESTROYED" });
  });
});

describe("an error handler of the app's own", () => {
  const stand = useStand("express");

  test("its answer reaches the client, uncharged", async () => {
    const url = stand().mount((app, path) => {
      const shop = express.Router();
      shop.post("/", stand().paywall({ price: "$0.02" }) as RequestHandler, () => {
        throw new Error("secret");
      });
      shop.use(((_error, _req, res, _next) =>
        res.status(503).json({ sorry: true })) as express.ErrorRequestHandler);
      app.use(path, shop);
    });
    const payment = await stand().sign(url, { method: "POST" });
    const answer = await whole(rawCall(url, payment, { method: "POST" }));
    expect(answer).toMatchObject({ status: 503, body: '{"sorry":true}' });
    await stand().reaches(payment, "released");
  });
});
