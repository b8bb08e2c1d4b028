import { text } from "node:stream/consumers";
import express, { type Request, type RequestHandler } from "express";
import { describe, expect, test } from "vitest";
import { post } from "../support/buyer.ts";
import { type Around, type Handler, type Kind, useStand } from "./stand.ts";
import { deferred, rawCall, whole } from "./wire.ts";

interface Reader {
  readonly name: string;
  readonly kinds: readonly Kind[];
  readonly around: Around;
  readonly read: Handler;
}

const both: readonly Kind[] = ["express", "node"];
const parsed: Handler = (req, res) => res.end(JSON.stringify((req as Request).body ?? null));
const json = express.json();

/** Ways in which handlers come to the body; each answers with what it read. */
const READERS: readonly Reader[] = [
  { name: "express.json() behind the paywall", kinds: ["express"], around: { behind: [json] }, read: parsed },
  { name: "express.json() before the paywall", kinds: ["express"], around: { before: [json] }, read: parsed },
  {
    name: "express.json() before and behind",
    kinds: ["express"],
    around: { before: [json], behind: [json] },
    read: parsed,
  },
  {
    name: "express.raw() behind the paywall",
    kinds: ["express"],
    around: { behind: [express.raw({ type: "*/*" })] },
    read: (req, res) => res.end((req as Request).body),
  },
  {
    name: "the stream, asynchronously",
    kinds: both,
    around: {},
    read: async (req, res) => res.end(await text(req)),
  },
  { name: "the stream, by pipe", kinds: both, around: {}, read: (req, res) => req.pipe(res) },
  {
    name: "the stream, by events",
    kinds: both,
    around: {},
    read: (req, res) => {
      req.setEncoding("utf8");
      req.on("data", (chunk) => res.write(chunk)).on("end", () => res.end());
    },
  },
  {
    // As Hono's and other servers do it, and `fetch(upstream, { body: req })`: of a stream that was read from it is refused.
    name: "a web Request made of the stream",
    kinds: both,
    around: {},
    read: async (req, res) => {
      const init = { method: "POST", body: req, duplex: "half" } as unknown as RequestInit;
      res.end(await new Request("http://shop.test", init).text());
    },
  },
];

const BODIES: Readonly<Record<string, RequestInit>> = {
  "a declared length": post({ question: "größe?", list: [1, 2] }),
  chunks: {
    ...post(undefined),
    body: new Blob(['{"question":"größe?",', '"list":[1,2]}']).stream(),
    duplex: "half",
  } as RequestInit,
  "100 KB": post({ long: "x".repeat(90_000) }),
};

describe.each(both)("a request body, sold in %s", (kind) => {
  const stand = useStand(kind, { bodyLimit: "1MiB" });
  const readers = READERS.filter(({ kinds }) => kinds.includes(kind));

  test.each(readers.flatMap((reader) => Object.keys(BODIES).map((body) => ({ ...reader, body }))))(
    "of $body is read by $name",
    async ({ around, read, body }) => {
      const sold = stand().sell(read, {}, around);
      const init = () =>
        body === "chunks"
          ? ({
              ...BODIES[body],
              body: new Blob(['{"question":"größe?",', '"list":[1,2]}']).stream(),
            } as RequestInit)
          : BODIES[body];
      const payment = await stand().sign(sold.url, { method: "POST" });
      const headers = { ...(init()?.headers as Record<string, string>), ...payment };
      const answer = await fetch(sold.url, { ...init(), headers });
      const sent = await new Response(init()?.body).text();
      expect(answer.status).toBe(200);
      expect(await answer.json()).toEqual(JSON.parse(sent));
      await stand().reaches(payment, "delivered");
      expect(sold.runs).toBe(1);
    },
  );

  const EMPTY = {
    "of no length": { "content-length": "0", "content-type": "application/json" },
    "of no chunks": { "transfer-encoding": "chunked", "content-type": "application/json" },
  };

  test.each(
    readers
      .filter(({ name }) => !name.includes("raw()"))
      .flatMap((reader) => Object.entries(EMPTY).map(([how, headers]) => ({ ...reader, how, headers }))),
  )("$how still ends for $name", async ({ around, read, headers }) => {
    const sold = stand().sell(read, {}, around);
    const payment = await stand().sign(sold.url, { method: "POST" });
    const answer = await whole(rawCall(sold.url, payment, { method: "POST", headers }));
    expect(answer.status).toBe(200);
    await stand().reaches(payment, "delivered");
  });

  test("an empty body whose end comes late still ends", async () => {
    const sold = stand().sell((req, res) => req.resume().on("end", () => res.end("ended")));
    const payment = await stand().sign(sold.url, { method: "POST" });
    const headers = { "transfer-encoding": "chunked" };
    const call = rawCall(sold.url, payment, { method: "POST", headers, open: true });
    call.request.flushHeaders();
    // Another request on another connection: by its answer the first one's head was read.
    await whole(rawCall(sold.url, {}));
    call.request.end();
    expect((await whole(call)).body).toBe("ended");
  });

  test("a GET has a body that ends", async () => {
    const sold = stand().sell((req, res) => req.resume().on("end", () => res.end("ended")));
    const payment = await stand().sign(sold.url);
    expect((await whole(rawCall(sold.url, payment))).body).toBe("ended");
  });

  test("bytes of any kind arrive as they were sent", async () => {
    const bytes = Uint8Array.from({ length: 70_000 }, (_, n) => (n * 7) % 256);
    const sold = stand().sell((req, res) => req.pipe(res));
    const payment = await stand().sign(sold.url, { method: "PUT" });
    const answer = await fetch(sold.url, { method: "PUT", body: bytes, headers: payment });
    expect(new Uint8Array(await answer.arrayBuffer())).toEqual(bytes);
  });

  test("the payment is for one body: with another it is refused", async () => {
    const sold = stand().sell((req, res) => req.pipe(res));
    const payment = await stand().sign(sold.url, { method: "POST" });
    const send = (body: string) => fetch(sold.url, { method: "POST", body, headers: payment });
    expect(await (await send("one")).text()).toBe("one");
    await stand().reaches(payment, "delivered");
    expect(await (await send("one")).text()).toBe("one");
    const other = await send("two");
    expect(other.status).toBe(409);
    expect(await other.json()).toMatchObject({ error: { code: "payment_already_used" } });
    expect(sold.runs).toBe(1);
  });

  test.each([
    ["declared", { "content-length": String(1_048_577) }],
    ["in chunks", { "transfer-encoding": "chunked" }],
  ])("over the limit, %s, is 413 before anything is claimed", async (_name, headers) => {
    const sold = stand().sell((_req, res) => res.end("never"));
    const payment = await stand().sign(sold.url, { method: "POST" });
    const call = rawCall(sold.url, payment, { method: "POST", headers, open: true });
    call.request.write(Buffer.alloc(1_048_577));
    const response = await call.response;
    expect(response.statusCode).toBe(413);
    expect(JSON.parse(await text(response)).error.code).toBe("body_too_large");
    call.request.destroy();
    expect(stand().row(payment)).toBeUndefined();
    expect(stand().calls("verify", payment)).toBe(0);
    expect(sold.runs).toBe(0);
  });

  test("exactly at the limit is taken", async () => {
    const sold = stand().sell(async (req, res) => res.end(String((await text(req)).length)));
    const payment = await stand().sign(sold.url, { method: "POST" });
    const answer = await fetch(sold.url, { method: "POST", body: "x".repeat(1_048_576), headers: payment });
    expect(await answer.text()).toBe("1048576");
  });

  test.each([
    ["declared", { "content-length": "1000" }],
    ["in chunks", { "transfer-encoding": "chunked" }],
  ])(
    "whose sender leaves half-way, %s, claims nothing; the payment is good for another try",
    async (_name, headers) => {
      const sold = stand().sell(async (req, res) => res.end(await text(req)));
      const payment = await stand().sign(sold.url, { method: "POST" });
      const call = rawCall(sold.url, payment, { method: "POST", headers, open: true });
      await new Promise<void>((go) => call.request.write("half", () => go()));
      call.request.destroy();
      await expect(call.response).rejects.toThrow();
      const again = await fetch(sold.url, { method: "POST", body: "whole", headers: payment });
      expect(await again.text()).toBe("whole");
      expect(sold.runs).toBe(1);
      expect(stand().calls("verify", payment)).toBe(1);
    },
  );
});

describe("parsers that look at the bytes", () => {
  const stand = useStand("express");

  test("an unparsable body fails in express.json() behind the paywall, uncharged", async () => {
    const sold = stand().sell((_req, res) => res.end("never"), {}, { behind: [json] });
    const payment = await stand().sign(sold.url, { method: "POST" });
    const answer = await fetch(sold.url, {
      method: "POST",
      body: "{",
      headers: { ...payment, "content-type": "application/json" },
    });
    expect(answer.status).toBe(400);
    await stand().reaches(payment, "released");
    expect(sold.runs).toBe(0);
  });

  test("a handler that never reads the body is served all the same, and the connection lives", async () => {
    const sold = stand().sell((_req, res) => res.end("unread"));
    for (let n = 0; n < 3; n += 1) {
      const payment = await stand().sign(sold.url, { method: "POST" });
      const answer = await fetch(sold.url, { method: "POST", body: "x".repeat(200_000), headers: payment });
      expect(await answer.text()).toBe("unread");
    }
  });

  test("a body that comes slowly is waited for, whoever looks at it", async () => {
    const arrived = deferred();
    const note: RequestHandler = (_req, _res, next) => {
      arrived.resolve();
      next();
    };
    const sold = stand().sell(async (req, res) => res.end(await text(req)), {}, { before: [note] });
    const payment = await stand().sign(sold.url, { method: "POST" });
    const headers = { "transfer-encoding": "chunked" };
    const call = rawCall(sold.url, payment, { method: "POST", headers, open: true });
    call.request.write("one ");
    await arrived.promise;
    call.request.end("two");
    expect(await text(await call.response)).toBe("one two");
  });
});
