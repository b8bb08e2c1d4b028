import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { createGunzip, createGzip, gunzipSync } from "node:zlib";
import type { RequestHandler, Response } from "express";
import { describe, expect, test } from "vitest";
import { faults } from "../support/faulty-facilitator.ts";
import { session } from "./late-session.ts";
import { type Handler, useStand } from "./stand.ts";
import { deferred, nextText, rawCall, whole, written } from "./wire.ts";

/** Adds headers when the head is written, as `on-headers` (sessions, timing, compression) does it. */
const onHeaders =
  (add: (res: ServerResponse) => void): RequestHandler =>
  (_req, res, next) => {
    const { writeHead } = res;
    let fired = false;
    res.writeHead = ((...args: Parameters<typeof writeHead>) => {
      if (!fired) add(res);
      fired = true;
      return Reflect.apply(writeHead, res, args);
    }) as typeof writeHead;
    next();
  };

/** Compresses as the `compression` middleware does: replaces `write` and `end`, decides when the head is written. */
const compress: RequestHandler = (req, res, next) => {
  const { write, end } = res;
  const zip = createGzip();
  let zipping = false;
  onHeaders((it) => {
    if (it.hasHeader("Content-Encoding")) return;
    zipping = true;
    it.setHeader("Content-Encoding", "gzip");
    it.removeHeader("Content-Length");
  })(req, res, () => undefined);
  const start = (): void => {
    if (!res.headersSent) res.writeHead(res.statusCode);
  };
  zip.on("data", (chunk: Buffer) => Reflect.apply(write, res, [chunk]));
  zip.on("end", () => Reflect.apply(end, res, []));
  res.write = ((chunk: string | Buffer, ...rest: unknown[]) => {
    start();
    if (!zipping) return Reflect.apply(write, res, [chunk, ...rest]);
    const more = zip.write(chunk);
    zip.flush();
    return more;
  }) as typeof write;
  res.end = ((chunk?: string | Buffer, ...rest: unknown[]) => {
    start();
    if (zipping) zip.end(chunk);
    else Reflect.apply(end, res, [chunk, ...rest]);
    return res;
  }) as typeof end;
  next();
};

const stamp = onHeaders((res) => res.setHeader("X-Stamp", `status ${res.statusCode}`));

describe("other middlewares around the paywall", () => {
  const stand = useStand("express");
  const EVENTS = "data: 1\n\ndata: 2\n\n";

  test.each([
    ["before", { before: [stamp] }],
    ["behind", { behind: [stamp] }],
  ])("one that adds headers with the head, %s the paywall, still does", async (_name, around) => {
    const json = stand().sell((_req, res) => (res as unknown as Response).json({ a: 1 }), {}, around);
    const flushed = stand().sell(
      (_req, res) => {
        res.flushHeaders();
        res.end();
      },
      {},
      around,
    );
    for (const { url } of [json, flushed]) {
      const answer = await whole(rawCall(url, await stand().sign(url)));
      expect(answer).toMatchObject({ status: 200, headers: { "x-stamp": "status 200" } });
    }
  });

  test.each([
    ["before", { before: [compress] }],
    ["behind", { behind: [compress] }],
  ])(
    "one that compresses, %s the paywall, compresses all of a stream and of its replay",
    async (_name, around) => {
      const more = deferred();
      const sold = stand().sell(
        async (_req, res) => {
          res.setHeader("Content-Type", "text/event-stream");
          res.write("data: 1\n\n");
          await more.promise;
          res.write("data: 2\n\n");
          res.end();
        },
        {},
        around,
      );
      const payment = await stand().sign(sold.url);
      const response = await rawCall(sold.url, payment).response;
      expect(response.headers["content-encoding"]).toBe("gzip");
      const plain = response.pipe(createGunzip());
      const text: string[] = [];
      for await (const chunk of plain) {
        text.push(String(chunk));
        more.resolve();
      }
      expect(text.join("")).toBe(EVENTS);
      await stand().reaches(payment, "delivered");

      const again = await rawCall(sold.url, payment).response;
      expect(again.statusCode).toBe(200);
      const zipped: Buffer[] = [];
      for await (const chunk of again) zipped.push(chunk as Buffer);
      expect(again.headers["content-encoding"]).toBe("gzip");
      expect(gunzipSync(Buffer.concat(zipped)).toString("utf8")).toBe(EVENTS);
      expect(sold.runs).toBe(1);
    },
  );

  const writes =
    (status: number, first: string, last?: string): Handler =>
    (_req, res) => {
      res.writeHead(status);
      res.write(first);
      res.end(last);
    };

  test.each<[string, Handler, number, string]>([
    ["written, and ended", writes(200, "what was paid for"), 200, "what was paid for"],
    ["written in two", writes(200, "what was ", "paid for"), 200, "what was paid for"],
    ["piped", (_req, res) => Readable.from(["what was ", "paid for"]).pipe(res), 200, "what was paid for"],
    ["without bytes", (_req, res) => res.writeHead(204).end(), 204, ""],
    ["a refusal", writes(404, "not ", "there"), 404, "not there"],
  ])("a session behind the paywall, which ends the answer later: %s", async (_how, handler, status, body) => {
    const sold = stand().sell(handler, {}, { behind: [session] });
    const payment = await stand().sign(sold.url);
    expect(await whole(rawCall(sold.url, payment))).toMatchObject({ status, body });
    await stand().reaches(payment, status < 400 ? "delivered" : "released");
  });

  test("one behind the paywall that compresses does not touch our own answer", async () => {
    const sold = stand().sell(
      (_req, res) => (res as unknown as Response).json({ secret: true }),
      {},
      { behind: [compress] },
    );
    const payment = await stand().sign(sold.url);
    stand().facilitator.fail("settle", faults.reason("insufficient_funds"));
    const answer = await whole(rawCall(sold.url, payment));
    expect(answer.status).toBe(402);
    expect(answer.headers["content-encoding"]).toBeUndefined();
    expect(JSON.parse(answer.body).error).toBe("payment_refused");
  });

  test("one before the paywall that throws when the head is written: an error, and the payer is credited", async () => {
    for (const failing of [[200], [200, 500]]) {
      const faulty = onHeaders((res) => {
        if (failing.includes(res.statusCode)) throw new Error("in front");
      });
      const sold = stand().sell((_req, res) => res.end("ok"), {}, { before: [faulty] });
      const payment = await stand().sign(sold.url);
      const answer = whole(rawCall(sold.url, payment));
      if (failing.includes(500)) await expect(answer).rejects.toMatchObject({ code: "ECONNRESET" });
      else expect(await answer).toMatchObject({ status: 500, body: expect.not.stringContaining("in front") });
      await stand().reaches(payment, "credited");
      expect(stand().credits(payment)).toHaveLength(1);
    }
  });
});

describe("one before the paywall that throws when an answer of our own leaves", () => {
  const stand = useStand("express");

  test.each<[string, Record<string, string>, number]>([
    ["the price", {}, 402],
    ["a refusal", { "payment-signature": "bogus" }, 400],
  ])("%s: that connection breaks, and the others are served", async (_name, headers, status) => {
    let isFailing = true;
    const faulty = onHeaders(() => {
      if (isFailing) throw new Error("in front");
    });
    const sold = stand().sell((_req, res) => res.end("ok"), {}, { before: [faulty] });
    const broken = rawCall(sold.url, headers).response;
    await expect(broken).rejects.toMatchObject({ code: "ECONNRESET" });
    isFailing = false;
    expect(await whole(rawCall(sold.url, headers))).toMatchObject({ status });
    expect(await whole(rawCall(sold.url, await stand().sign(sold.url)))).toMatchObject({ status: 200 });
  });
});

describe.each(["express", "node"] as const)("a handler in %s that goes wrong after its answer", (kind) => {
  const stand = useStand(kind);

  test.each<[string, (res: ServerResponse) => unknown]>([
    [
      "throws",
      () => {
        throw new Error("after");
      },
    ],
    [
      "answers twice",
      (res) =>
        kind === "express" ? (res as Response).json({ other: "a longer answer" }) : res.writeHead(500),
    ],
    ["writes on", (res) => void res.write("more")],
    ["ends twice", (res) => void res.end("more")],
    ["destroys the response", (res) => void res.destroy()],
  ])("and %s: its caller has paid for the answer and gets it", async (_name, wrong) => {
    const sold = stand().sell(async (_req, res) => {
      res.setHeader("Content-Type", "application/json");
      res.end('{"a":1}');
      wrong(res);
    });
    const payment = await stand().sign(sold.url);
    const answer = await whole(rawCall(sold.url, payment));
    expect(answer).toMatchObject({
      status: 200,
      body: '{"a":1}',
      headers: { "content-type": "application/json" },
    });
    await stand().reaches(payment, "delivered");
    expect(stand().credits(payment)).toEqual([]);
  });

  test("a header that comes after the head is refused, as Node refuses it", async () => {
    const codes: unknown[] = [];
    const sold = stand().sell(async (_req, res) => {
      await written(res, "held");
      for (const late of [
        () => res.setHeader("X-Late", "1"),
        () => res.removeHeader("X-Late"),
        () => res.writeHead(201),
      ]) {
        try {
          late();
        } catch (error) {
          codes.push((error as NodeJS.ErrnoException).code);
        }
      }
      res.end();
    });
    const answer = await whole(rawCall(sold.url, await stand().sign(sold.url)));
    expect(codes).toEqual(["ERR_HTTP_HEADERS_SENT", "ERR_HTTP_HEADERS_SENT", "ERR_HTTP_HEADERS_SENT"]);
    expect(answer).toMatchObject({ status: 200, body: "held" });
    expect(answer.headers["x-late"]).toBeUndefined();
  });

  test("connections are used again after a paid call, and each carries its own", async () => {
    const sold = stand().sell((_req, res) => res.end("kept alive"));
    const { Agent } = await import("node:http");
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      for (let n = 0; n < 3; n += 1) {
        const payment = await stand().sign(sold.url);
        const { request } = await import("node:http");
        const response = await new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
          request(sold.url, { agent, headers: payment }, resolve).once("error", reject).end();
        });
        expect(await nextText(response)).toBe("kept alive");
        expect(await nextText(response)).toBe("");
        await stand().reaches(payment, "delivered");
      }
    } finally {
      agent.destroy();
    }
  });
});
