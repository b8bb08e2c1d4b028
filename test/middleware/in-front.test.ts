import { buffer } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { createGunzip, createGzip, gunzipSync } from "node:zlib";
import express, { type RequestHandler } from "express";
import { describe, expect, test } from "vitest";
import { faults } from "../support/faulty-facilitator.ts";
import { session } from "./late-session.ts";
import { useStand } from "./stand.ts";
import { deferred, rawCall, whole } from "./wire.ts";

const stand = useStand("express");

/** As `compression` does it: what it is given leaves through a stream of its own. */
const compress: RequestHandler = (_req, res, next) => {
  const { write, end, writeHead } = res;
  const zip = createGzip();
  zip.on("data", (chunk) => Reflect.apply(write, res, [chunk]));
  zip.on("end", () => Reflect.apply(end, res, []));
  let begun = false;
  res.writeHead = ((...args: unknown[]) => {
    if (!begun) {
      begun = true;
      res.setHeader("Content-Encoding", "gzip");
      res.removeHeader("Content-Length");
    }
    return Reflect.apply(writeHead, res, args);
  }) as typeof res.writeHead;
  const begin = () => {
    if (!begun) res.writeHead(res.statusCode);
  };
  res.write = ((chunk: unknown) => {
    begin();
    return zip.write(chunk);
  }) as typeof res.write;
  res.end = ((chunk: unknown) => {
    begin();
    if (chunk != null) zip.write(chunk);
    zip.end();
    return res;
  }) as typeof res.end;
  next();
};

describe.each([
  ["a session", session],
  ["compression", compress],
])("%s in front, which ends the response later", (_name, before) => {
  async function answerOf(url: string, payment: Record<string, string>) {
    const response = await rawCall(url, payment).response;
    const body = await buffer(response);
    const text = response.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
    return { status: response.statusCode, body: text.toString(), retry: response.headers["retry-after"] };
  }

  test("what is sold arrives", async () => {
    const sold = stand().sell((_req, res) => res.end("what was paid for"), {}, { before: [before] });
    const answer = await answerOf(sold.url, await stand().sign(sold.url));
    expect(answer).toMatchObject({ status: 200, body: "what was paid for" });
  });

  test("an answer without bytes is sold, and whoever waits for its end goes on", async () => {
    const ended = deferred();
    const sold = stand().sell((_req, res) => res.end(() => ended.resolve()), {}, { before: [before] });
    const payment = await stand().sign(sold.url);
    expect(await answerOf(sold.url, payment)).toMatchObject({ status: 200, body: "" });
    await ended.promise;
    await stand().reaches(payment, "delivered");
  });

  test.each([
    ["refused", faults.reason("insufficient_funds"), { status: 402 }],
    ["unknown", faults.reset, { status: 503, retry: "2" }],
  ])("a settlement that is %s is told", async (_outcome, fault, told) => {
    const sold = stand().sell((_req, res) => res.end("ok"), {}, { before: [before] });
    const payment = await stand().sign(sold.url);
    stand().facilitator.fail("settle", fault);
    expect(await answerOf(sold.url, payment)).toMatchObject(told);
  });

  test.each([
    ["gives the response up", false],
    ["throws after its first byte", true],
  ])("a handler that %s: 502, uncharged", async (_how, throws) => {
    const handler = (_req: unknown, res: { write(text: string): void; destroy(): void }) => {
      res.write("x");
      if (throws) throw new Error("boom");
      res.destroy();
    };
    const sold = stand().sell(handler, {}, { before: [before] });
    const payment = await stand().sign(sold.url);
    expect(await answerOf(sold.url, payment)).toMatchObject({ status: 502 });
    expect(await stand().reaches(payment, "released")).toMatchObject({ tx: null });
  });
});

/** As `compression` does it: bytes wait for more of them until the handler calls `res.flush()`; `no-transform` is left alone. */
const compressInBlocks: RequestHandler = (_req, res, next) => {
  const { write, end, writeHead } = res;
  const zip = createGzip();
  zip.on("data", (chunk) => Reflect.apply(write, res, [chunk]));
  zip.on("end", () => Reflect.apply(end, res, []));
  let zips = false;
  const begin = () => {
    if (res.headersSent) return;
    zips = !String(res.getHeader("Cache-Control")).toLowerCase().includes("no-transform");
    if (zips) res.setHeader("Content-Encoding", "gzip").removeHeader("Content-Length");
    Reflect.apply(writeHead, res, [res.statusCode]);
  };
  res.write = ((...args: unknown[]) => {
    begin();
    return zips ? zip.write(args[0]) : Reflect.apply(write, res, args);
  }) as typeof res.write;
  res.end = ((...args: unknown[]) => {
    begin();
    if (zips) zip.end(args[0]);
    else Reflect.apply(end, res, args);
    return res;
  }) as typeof res.end;
  Object.assign(res, { flush: () => void (zips && zip.flush()) });
  next();
};

describe("compression in front, which keeps bytes until it is told to flush", () => {
  const SSE = { "Content-Type": "text/event-stream" };

  test("an event that the handler has flushed leaves before the next one is there", async () => {
    const more = deferred();
    const sold = stand().sell(
      async (_req, res) => {
        res.writeHead(200, SSE);
        res.write("data: 1\n\n");
        Reflect.apply(Reflect.get(res, "flush"), res, []);
        await more.promise;
        res.end("data: 2\n\n");
      },
      {},
      { before: [compressInBlocks] },
    );
    const response = await rawCall(sold.url, await stand().sign(sold.url)).response;
    const plain = response.pipe(createGunzip());
    const texts: string[] = [];
    for await (const chunk of plain) {
      texts.push(String(chunk));
      more.resolve();
    }
    expect(texts).toEqual(["data: 1\n\n", "data: 2\n\n"]);
  });

  test("an answer that forbids it is not compressed, nor is its replay", async () => {
    const sold = stand().sell(
      (_req, res) => {
        res.writeHead(200, { ...SSE, "Cache-Control": "no-cache, No-Transform, max-age=0" });
        res.end("data: 1\n\n");
      },
      {},
      { before: [compressInBlocks] },
    );
    const payment = await stand().sign(sold.url);
    for (const _time of ["first", "again"]) {
      const answer = await whole(rawCall(sold.url, payment));
      expect(answer).toMatchObject({
        body: "data: 1\n\n",
        headers: { "cache-control": "private, no-store, no-transform" },
      });
      expect(answer.headers["content-encoding"]).toBeUndefined();
      await stand().reaches(payment, "delivered");
    }
  });
});

describe("a time limit in front answers while the payment is looked at", () => {
  /** The head leaves at once, the end when the session is saved: the response is answered and not closed. */
  const slowSession: RequestHandler = (_req, res, next) => {
    const { end } = res;
    res.end = ((...args: unknown[]) => {
      if (!res.headersSent) res.writeHead(res.statusCode);
      setTimeout(() => Reflect.apply(end, res, args), 1_000);
      return res;
    }) as typeof res.end;
    next();
  };
  const answers: (() => void)[] = [];
  const timeLimit: RequestHandler = (_req, res, next) => {
    answers.push(() => void res.status(503).end("too late"));
    next();
  };

  test.each([
    ["after", "verify", "released"],
    ["upfront", "settle", "parked"],
  ] as const)(
    "settle %s, during %s: the charge ends, and the payment is good for the retry",
    async (settle, operation, state) => {
      const sold = stand().sell(
        (_req, res) => res.end("ok"),
        { settle },
        { before: [slowSession, timeLimit] },
      );
      const payment = await stand().sign(sold.url);
      const hold = stand().facilitator.hold(operation);
      const first = whole(rawCall(sold.url, payment));
      await hold.arrived;
      answers.pop()?.();
      hold.release();
      await stand().reaches(payment, state);
      expect((await first).status).toBe(503);
      expect(sold.runs).toBe(0);
      // A lease would keep it for 15 s.
      const again = await whole(rawCall(sold.url, payment));
      expect([again.status, again.body]).toEqual([200, "ok"]);
      expect(stand().calls("settle", payment)).toBe(1);
    },
  );
});

test("the app's own CORS policy stays, and ours is beside it", async () => {
  const policy: RequestHandler = (_req, res, next) => {
    res.setHeader("Access-Control-Allow-Origin", "https://app.example");
    res.setHeader("Access-Control-Allow-Credentials", "true");
    res.setHeader("Access-Control-Expose-Headers", "X-Total");
    next();
  };
  const sold = stand().sell((_req, res) => res.end("ok"), {}, { before: [policy] });
  const failing = stand().sell((_req, res) => res.destroy(), {}, { before: [policy] });
  const payment = await stand().sign(sold.url);
  const answers = [
    await whole(rawCall(sold.url, {})),
    await whole(rawCall(sold.url, payment)),
    await whole(rawCall(sold.url, payment)),
    await whole(rawCall(failing.url, await stand().sign(failing.url))),
  ];
  expect(answers.map(({ status }) => status)).toEqual([402, 200, 200, 502]);
  for (const { headers } of answers) {
    expect(headers["access-control-allow-origin"]).toBe("https://app.example");
    const exposed = String(headers["access-control-expose-headers"]).split(", ");
    expect(exposed.sort()).toEqual(
      ["PAYMENT-REQUIRED", "PAYMENT-RESPONSE", "Retry-After", "X-PAYMENT-RESPONSE", "X-Total"].sort(),
    );
  }
});

test("a response that fails before the handler is run: 500, and the payment is good for another try at once", async () => {
  let fails = true;
  const brittle: RequestHandler = (req, res, next) => {
    const { setHeader } = res;
    res.setHeader = (name, value) => {
      if (fails && req.headers["payment-signature"] !== undefined) {
        fails = false;
        throw new Error("not this header");
      }
      return Reflect.apply(setHeader, res, [name, value]);
    };
    next();
  };
  const sold = stand().sell((_req, res) => res.end("ok"), {}, { before: [brittle] });
  const payment = await stand().sign(sold.url);
  expect((await whole(rawCall(sold.url, payment))).status).toBe(500);
  expect([sold.runs, stand().calls("settle", payment)]).toEqual([0, 0]);
  // A lease would keep it for 15 s.
  expect((await whole(rawCall(sold.url, payment))).status).toBe(200);
  await stand().reaches(payment, "delivered");
  expect(stand().calls("settle", payment)).toBe(1);
});

test.each(["after", "upfront"] as const)(
  "two paywalls in one chain sell nothing (settle %s)",
  async (settle) => {
    const url = stand().mount((app, path) => {
      app.use(path, stand().paywall({ price: "$0.02", settle }) as RequestHandler);
      app.get(path, stand().paywall({ price: "$0.02" }) as RequestHandler, (_req, res) => void res.end("ok"));
    });
    const payment = await stand().sign(url);
    const answer = await whole(rawCall(url, payment));
    expect(answer.status).toBe(500);
    expect(answer.body).toContain("internal_error");
    await stand().reaches(payment, settle === "after" ? "released" : "credited");
  },
);

describe("a body that is read in front", () => {
  const path = { price: "$0.02" };
  const got: RequestHandler = async (req, res) => {
    let text = "";
    for await (const chunk of req) text += chunk;
    res.end(`got ${text}`);
  };
  const shop = (...chain: RequestHandler[]) =>
    stand().mount((app, at) => {
      const [first = got, ...rest] = chain;
      app.post(at, first, stand().paywall(path) as RequestHandler, ...rest);
    });
  async function send(url: string, payment: Record<string, string>, body: string) {
    const headers = { "content-type": "application/json" };
    const call = rawCall(url, payment, { method: "POST", open: true, headers });
    call.request.end(body);
    return whole(call);
  }
  const signed = (url: string, body: string) =>
    stand().sign(url, { method: "POST", body, headers: { "content-type": "application/json" } });

  test.each(["utf8", "latin1", "hex"] as const)("as %s: the handler still gets it", async (encoding) => {
    const early: RequestHandler = (req, _res, next) => {
      req.setEncoding(encoding);
      next();
    };
    const body = '{"a":"é"}';
    const url = shop(early, got);
    const answer = await send(url, await signed(url, body), body);
    expect(answer.body).toBe(`got ${encoding === "utf8" ? body : Buffer.from(body).toString(encoding)}`);
  });

  test("into req.rawBody: another body is another request", async () => {
    const rawBody: RequestHandler = async (req, _res, next) => {
      Object.assign(req, { rawBody: await buffer(req) });
      next();
    };
    const url = shop(rawBody, (req, res) => void res.end(`answer to ${Reflect.get(req, "rawBody")}`));
    const payment = await signed(url, "A");
    expect((await send(url, payment, "A")).body).toBe("answer to A");
    await stand().reaches(payment, "delivered");
    expect((await send(url, payment, "A")).body).toBe("answer to A");
    expect((await send(url, payment, "B")).status).toBe(409);
  });

  test("with numbers that JSON does not write", async () => {
    const parse = express.json({
      reviver: (_key, value) => (typeof value === "number" ? BigInt(value) : value),
    });
    const url = shop(parse, (_req, res) => void res.end("ok"));
    expect((await send(url, await signed(url, '{"a":1}'), '{"a":1}')).status).toBe(200);
  });

  test("as null, which JSON may be", async () => {
    const url = shop(express.json({ strict: false }), (req, res) => void res.json({ got: req.body }));
    expect((await send(url, await signed(url, "null"), "null")).body).toBe('{"got":null}');
  });

  test.each<[string, RequestHandler]>([
    [
      "by a listener that counts",
      (req, _res, next) => {
        req.on("data", () => {});
        next();
      },
    ],
    [
      "and thrown away",
      async (req, _res, next) => {
        await buffer(req);
        await pause(1);
        next();
      },
    ],
  ])("%s: it is not sold without it", async (_how, reader) => {
    let runs = 0;
    const url = shop(reader, (_req, res) => {
      runs += 1;
      res.end("ok");
    });
    const payment = await signed(url, '{"a":1}');
    const answer = await send(url, payment, '{"a":1}');
    expect([answer.status, runs]).toEqual([500, 0]);
    expect(answer.body).toContain("not left whole");
    expect(stand().row(payment)).toBeUndefined();
  });

  describe("a form with a file", () => {
    const form =
      '--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nNotes\r\n' +
      '--x\r\nContent-Disposition: form-data; name="file"; filename="notes.txt"\r\n\r\nwhat is in it\r\n--x--\r\n';
    const request = {
      method: "POST",
      body: form,
      headers: { "content-type": "multipart/form-data; boundary=x" },
    };
    async function upload(reader: RequestHandler) {
      const url = shop(reader, (_req, res) => void res.end("ok"));
      const payment = await stand().sign(url, request);
      const answer = await fetch(url, { ...request, headers: { ...request.headers, ...payment } });
      return { status: answer.status, body: await answer.text(), row: stand().row(payment) };
    }

    test("whose fields alone are in req.body, as multer leaves them: another file would be the same request, so it is not sold", async () => {
      const answer = await upload(async (req, _res, next) => {
        const bytes = await buffer(req);
        Object.assign(req, { body: { title: "Notes" }, file: { buffer: bytes } });
        next();
      });
      expect(answer).toMatchObject({ status: 500, row: undefined });
      expect(answer.body).toContain("not left whole");
    });

    test.each<[string, RequestHandler]>([
      ["in req.body", express.raw({ type: "multipart/form-data" })],
      [
        "in req.rawBody, beside its fields",
        async (req, _res, next) => {
          Object.assign(req, { rawBody: await buffer(req), body: { title: "Notes" } });
          next();
        },
      ],
    ])("whole %s: sold", async (_where, reader) => {
      expect(await upload(reader)).toMatchObject({ status: 200, body: "ok" });
    });
  });
});
