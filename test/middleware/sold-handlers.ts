import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import type { Response } from "express";
import type { Handler, Kind } from "./stand.ts";
import { written } from "./wire.ts";

export const FILE = fileURLToPath(new URL("../../LICENSE", import.meta.url));

export interface SoldHandler {
  readonly name: string;
  readonly kinds: readonly Kind[];
  readonly handler: Handler;
}

const both: readonly Kind[] = ["express", "node"];

/** Node's own ways to answer, which every framework is made of. */
const nodeHandlers: Readonly<Record<string, Handler>> = {
  "end with a string": (_req, res) => res.end("hello"),
  "end with bytes": (_req, res) => res.end(Buffer.from([104, 105])),
  "end with an encoding": (_req, res) => res.end("6869", "hex"),
  "end with nothing": (_req, res) => res.end(),
  "end with a callback": (_req, res) => new Promise<void>((resolve) => res.end("hello", () => resolve())),
  "end with only a callback": (_req, res) => new Promise<void>((resolve) => res.end(() => resolve())),
  "setHeader, statusCode and end": (_req, res) => {
    res.statusCode = 201;
    res.statusMessage = "Made";
    res.setHeader("Content-Type", "text/plain").setHeader("X-Many", ["a", "b"]);
    res.appendHeader("X-Many", "c");
    res.end("made");
  },
  "setHeaders with a Map": (_req, res) => res.setHeaders(new Map([["x-mapped", "1"]])).end("mapped"),
  "several writes": (_req, res) => {
    res.setHeader("Content-Type", "text/plain");
    res.write("one ");
    res.write(Buffer.from("two "));
    res.write("dGhyZWU=", "base64");
    res.end();
  },
  "JSON by writes whose callbacks are awaited": async (_req, res) => {
    res.setHeader("Content-Type", "application/json");
    await written(res, '{"answer":');
    await written(res, "42}");
    res.end();
  },
  "one buffer that is used again and again": async (_req, res) => {
    const buffer = Buffer.alloc(4);
    for (const text of ["aaaa", "bbbb", "cccc"]) {
      buffer.write(text);
      await written(res, buffer);
    }
    res.end();
  },
  "SSE by writes whose callbacks are awaited": async (_req, res) => {
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    await written(res, ": hello\n\n");
    await written(res, "data: 1\n\n");
    await written(res, "data: 2\n\n");
    res.end("data: [DONE]\n\n");
  },
  "an empty write that is awaited after flushHeaders": async (_req, res) => {
    res.flushHeaders();
    await written(res, "");
    res.end("after");
  },
  "cork and uncork": (_req, res) => {
    res.cork();
    res.write("a");
    res.write("b");
    res.uncork();
    res.end("c");
  },
  pipe: (_req, res) => Readable.from(["piped ", "text"]).pipe(res),
  pipeline: (_req, res) => pipeline(Readable.from(["through ", "a ", "pipeline"]), res),
  "pipeline from a file": (_req, res) => pipeline(createReadStream(FILE), res),
  "writeHead with an object": (_req, res) =>
    res.writeHead(202, { "X-A": "1", "X-B": ["2", "3"], "X-N": 4 }).end("ok"),
  "writeHead with a message": (_req, res) => res.writeHead(200, "Very Fine", { "X-A": "1" }).end("ok"),
  "writeHead with only a message": (_req, res) => res.writeHead(200, "Very Fine").end("ok"),
  "writeHead with an undefined message": (_req, res) =>
    Reflect.apply(res.writeHead, res, [200, undefined, { "X-A": "1" }]).end("ok"),
  "writeHead with a flat list, a message and numbers": (_req, res) =>
    Reflect.apply(res.writeHead, res, [200, "Listed", ["Content-Length", 2, "X-Many", ["a", "b"]]]).end("ok"),
  "writeHead with a list that replaces earlier headers": (_req, res) => {
    res.setHeader("Content-Type", "text/plain");
    res.writeHead(200, ["Content-Type", "application/json"]).end("{}");
  },
  "writeHead with an object that replaces earlier headers": (_req, res) => {
    res.setHeader("Content-Type", "text/plain");
    res.writeHead(200, { "content-type": "application/json" }).end("{}");
  },
  "flushHeaders, then the body": (_req, res) => {
    res.setHeader("X-Early", "1");
    res.flushHeaders();
    res.end("body");
  },
  "a redirect": (_req, res) => res.writeHead(302, { Location: "/elsewhere" }).end(),
  "204": (_req, res) => res.writeHead(204).end(),
  "a declared length": (_req, res) => res.writeHead(200, { "Content-Length": 5 }).end("12345"),
  trailers: (_req, res) => {
    res.writeHead(200, { Trailer: "X-Sum" });
    res.write("summed");
    res.addTrailers({ "X-Sum": "6" });
    res.end();
  },
  "trailers that no header announces": (_req, res) => {
    res.write("sum");
    res.addTrailers({ "X-Sum": "6" });
    res.end("med");
  },
};

/** In Express, where headers were set before, Node 20 drops the list's doubles and refuses its pairs; later ones do not. */
export const LISTS: Readonly<Record<string, Handler>> = {
  "writeHead with a flat list": (_req, res) =>
    res.writeHead(200, ["X-A", "1", "Set-Cookie", "a=1", "Set-Cookie", "b=2"]).end("ok"),
  "writeHead with a list of pairs": (_req, res) =>
    Reflect.apply(res.writeHead, res, [
      200,
      [
        ["X-A", "1"],
        ["X-B", "2"],
      ],
    ]).end("ok"),
};

/** Express's comforts. */
const expressHandlers: Readonly<Record<string, (res: Response) => unknown>> = {
  "res.json": (res) => res.json({ a: 1 }),
  "res.status(201).json": (res) => res.status(201).json([1, 2, 3]),
  "res.send with a string": (res) => res.send("<b>hi</b>"),
  "res.send with bytes": (res) => res.type("application/octet-stream").send(Buffer.from("bytes")),
  "res.type and res.send": (res) => res.type("txt").send("plain"),
  "res.set and res.cookie": (res) => res.set("X-A", "1").cookie("c", "v").send("set"),
  "res.jsonp": (res) => res.jsonp({ a: 1 }),
  "res.sendFile": (res) => res.sendFile(FILE),
  "res.download": (res) => res.download(FILE, "terms.txt"),
  "res.redirect": (res) => res.redirect("/elsewhere"),
  "res.sendStatus(204)": (res) => res.sendStatus(204),
  "res.sendStatus(202)": (res) => res.sendStatus(202),
  "res.format": (res) => res.format({ json: () => res.json({ f: 1 }), html: () => res.send("<i>f</i>") }),
};

export const SOLD_HANDLERS: readonly SoldHandler[] = [
  ...Object.entries(nodeHandlers).map(([name, handler]) => ({ name, kinds: both, handler })),
  ...Object.entries(LISTS).map(([name, handler]) => ({ name, kinds: ["node"] as const, handler })),
  ...Object.entries(expressHandlers).map(([name, answer]) => ({
    name,
    kinds: ["express"] as const,
    handler: ((_req, res) => answer(res as unknown as Response)) satisfies Handler,
  })),
];
