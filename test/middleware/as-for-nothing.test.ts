import type { ErrorRequestHandler, RequestHandler, Response } from "express";
import { describe, expect, test } from "vitest";
import { useStand } from "./stand.ts";
import { deferred, rawCall, whole } from "./wire.ts";

/** A handler that is sold is answered as it is for nothing, or is not charged. */
describe.each(["express", "node"] as const)("in %s", (kind) => {
  const stand = useStand(kind);

  test.each([
    [200, 500, "delivered"],
    [500, 200, "released"],
  ])("status %i, and %i when the answer is whole already: the first counts", async (status, late, state) => {
    const handler = (_req: unknown, res: Response) => {
      res.statusCode = status;
      res.statusMessage = "First";
      res.end('{"a":1}');
      res.statusCode = late;
      res.statusMessage = "Late";
    };
    expect((await whole(rawCall(stand().give(handler as never), {}))).status).toBe(status);
    const sold = stand().sell(handler as never);
    const payment = await stand().sign(sold.url);
    const call = rawCall(sold.url, payment);
    const { statusMessage } = await call.response;
    expect([(await whole(call)).status, statusMessage]).toEqual([status, "First"]);
    await stand().reaches(payment, state);
    if (state === "delivered") expect((await whole(rawCall(sold.url, payment))).status).toBe(status);
  });

  test("a status set while a stream's first event is settled", async () => {
    const hold = stand().facilitator.hold("settle");
    const sold = stand().sell(async (_req, res) => {
      res.setHeader("Content-Type", "text/event-stream");
      res.write("data: 1\n\n");
      await hold.arrived;
      res.statusCode = 500;
      res.end();
      hold.release();
    });
    const payment = await stand().sign(sold.url);
    const answer = await whole(rawCall(sold.url, payment));
    expect([answer.status, answer.body]).toEqual([200, "data: 1\n\n"]);
    await stand().reaches(payment, "delivered");
  });

  test("a status set after its client left: the retry is given the answer", async () => {
    const left = deferred();
    const hold = stand().facilitator.hold("settle");
    const sold = stand().sell(async (_req, res) => {
      res.write("whole");
      res.end();
      await left.promise;
      res.statusCode = 500;
    });
    const payment = await stand().sign(sold.url);
    const call = rawCall(sold.url, payment);
    await hold.arrived;
    call.request.destroy();
    await call.response.catch(() => undefined);
    left.resolve();
    hold.release();
    await stand().reaches(payment, "parked");
    const again = await whole(rawCall(sold.url, payment));
    expect([again.status, again.body]).toEqual([200, "whole"]);
  });

  test.each([
    ["longer than its bytes", 100],
    ["in characters", 12],
  ])("a declared length that is %s: uncharged", async (_how, length) => {
    const sold = stand().sell((_req, res) => {
      res.setHeader("Content-Length", length);
      res.end('{"name":"é€"}');
    });
    const payment = await stand().sign(sold.url);
    const call = rawCall(sold.url, payment);
    await call.response;
    expect(await stand().reaches(payment, "delivered", "released")).toMatchObject({
      state: "released",
      reason: "wrong_content_length",
    });
    call.request.destroy();
  });

  test("a handler that throws behind headers of its own: the error has none of them", async () => {
    const sold = stand().sell((_req, res) => {
      res.setHeader("Content-Encoding", "gzip");
      res.setHeader("ETag", '"x"');
      throw new Error("boom");
    });
    const answer = await whole(rawCall(sold.url, await stand().sign(sold.url)));
    expect([answer.status, answer.headers["content-encoding"]]).toEqual([500, undefined]);
    if (kind === "node") expect(answer.headers.etag).toBeUndefined();
  });

  test("a length without a body where there is none: sold", async () => {
    const sold = stand().sell((_req, res) => {
      res.statusCode = 304;
      res.setHeader("Content-Length", 100);
      res.end();
    });
    const payment = await stand().sign(sold.url);
    expect((await whole(rawCall(sold.url, payment))).status).toBe(304);
    await stand().reaches(payment, "delivered");
  });
});

describe("in Express alone", () => {
  const stand = useStand("express");

  test("an answer, then an error, and the usual error handler: the answer counts", async () => {
    const onError: ErrorRequestHandler = (_error, _req, res, next) => {
      try {
        res.status(500).json({ error: "boom" });
      } catch (late) {
        next(late);
      }
    };
    const handler: RequestHandler = async (_req, res) => {
      res.json({ report: "good" });
      throw new Error("audit failed");
    };
    const url = stand().mount((app, path) =>
      app.get(path, stand().paywall({ price: "$0.02" }) as RequestHandler, handler, onError),
    );
    const payment = await stand().sign(url);
    const answer = await whole(rawCall(url, payment));
    expect([answer.status, answer.body]).toEqual([200, '{"report":"good"}']);
    await stand().reaches(payment, "delivered");
  });

  test("another part of a file is another request", async () => {
    const file = new URL("../../LICENSE", import.meta.url).pathname;
    const url = stand().mount((app, path) =>
      app.get(path, stand().paywall({ price: "$0.02" }) as RequestHandler, (_req, res) => res.sendFile(file)),
    );
    const payment = await stand().sign(url);
    const part = { headers: { Range: "bytes=0-9" } };
    expect((await whole(rawCall(url, payment, part))).headers["content-range"]).toMatch(/^bytes 0-9/);
    await stand().reaches(payment, "delivered");
    expect((await whole(rawCall(url, payment, part))).status).toBe(206);
    const others = [{ headers: { Range: "bytes=10-19" } }, {}];
    for (const other of others) expect((await whole(rawCall(url, payment, other))).status).toBe(409);
  });
});
