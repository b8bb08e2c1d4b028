import type { ServerResponse } from "node:http";
import { applyHead, headersSent, streamDestroyed, toBytes } from "./response-head.ts";

export type Done = (error?: Error | null) => void;

/** What the gate does with each call that a handler makes on its response, until it lets them pass. */
export interface ResponseSink {
  head(): void;
  /** False = the handler should wait for 'drain'. The chunk is the sink's own. */
  write(chunk: Buffer, done: Done): boolean;
  end(chunk: Buffer | undefined, done: Done): void;
  flushHeaders(): void;
  /** True = handled; false = let Node destroy the response. Also asked once calls pass. */
  destroy(): boolean;
  /** Told of each chunk once calls pass, as the handler gave it; `flowing` is false while the client does not read. */
  passed(chunk: unknown, encoding: unknown, flowing: boolean): void;
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  readonly writableNeedDrain: boolean;
  /** The handler talks to nobody: what it writes goes nowhere. */
  readonly dismissed: boolean;
}

export interface Interception {
  /** Runs with the methods that were found, so that what it does reaches the client. */
  bypass(run: () => void): void;
  /** From here on the handler's calls reach the client. */
  letPass(): void;
}

type Writer = "writeHead" | "write" | "end" | "flushHeaders";
type Methods = ReturnType<typeof methodsOf>;
type Call = (...args: readonly unknown[]) => unknown;

/**
 * Puts a sink between a handler and its response, for any handler: `res.json`, `write`, `pipe`, `sendFile`, SSE.
 * It stays for the life of the response: a middleware behind us that wrapped our methods calls them to the end; one before
 * us that had wrapped Node's is called when the answer leaves. What Node refuses, we refuse at the same call.
 */
export function interceptResponse(res: Shown, sink: ResponseSink): Interception {
  const found = methodsOf(res);
  const held = holding(res, sink);
  const passed = passing(res, sink, found);
  let passes = false;
  let bypassed = false;

  const route =
    (name: Writer): Call =>
    (...args) =>
      Reflect.apply((bypassed ? found : passes ? passed : held)[name], res, args);
  const header =
    (name: "setHeader" | "appendHeader" | "removeHeader"): Call =>
    (...args) => {
      if (!passes && !bypassed) {
        if (sink.dismissed) return res;
        if (sink.headersSent) throw headersSent("set");
      }
      return Reflect.apply(found[name], res, args);
    };
  const ours = {
    writeHead: route("writeHead"),
    write: route("write"),
    end: route("end"),
    flushHeaders: route("flushHeaders"),
    // Node's own, which whoever wraps `end` calls where no head has left: one that we hold is none to imply.
    _implicitHeader(): void {
      if (passes || bypassed || !sink.headersSent) res.writeHead(res.statusCode);
    },
    // A hint may name what is sold, and after the answer it is no use.
    writeEarlyHints(...[hints, callback]: Parameters<ServerResponse["writeEarlyHints"]>): void {
      if (passes || bypassed) found.writeEarlyHints.call(res, hints, callback);
      else if (callback !== undefined) process.nextTick(callback);
    },
    destroy: (error?: Error) =>
      !bypassed && sink.destroy() ? res : Reflect.apply(found.destroy, res, [error]),
    setHeader: header("setHeader"),
    appendHeader: header("appendHeader"),
    removeHeader: header("removeHeader"),
  };
  Object.assign(res, ours);
  showFacts(res, sink);

  return {
    bypass(run) {
      const stacked = methodsOf(res);
      const shown = res[FACTS];
      const within = bypassed;
      Object.assign(res, ours);
      res[FACTS] = undefined;
      bypassed = true;
      try {
        run();
      } finally {
        bypassed = within;
        res[FACTS] = shown;
        Object.assign(res, stacked);
      }
    },
    letPass() {
      passes = true;
      res[FACTS] = undefined;
    },
  };
}

/** While nothing may leave: the sink gets it. */
function holding(res: ServerResponse, sink: ResponseSink): Readonly<Record<Writer, Call>> {
  /** As Node's implicit head, through whoever behind us has wrapped `writeHead`. */
  const implyHead = (): void => {
    if (!sink.headersSent) res.writeHead(res.statusCode);
  };
  return {
    writeHead(status, ...rest) {
      if (sink.dismissed) return res;
      if (sink.headersSent) throw headersSent("write");
      applyHead(res, status, rest);
      sink.head();
      return res;
    },
    write(chunk, encoding, callback) {
      const bytes = toBytes(chunk, encoding);
      const done = callbackOf(encoding, callback);
      if (sink.dismissed) return discard(done);
      implyHead();
      return sink.write(bytes, done);
    },
    end(chunk, encoding, callback) {
      const bytes = chunk == null || isDone(chunk) ? undefined : toBytes(chunk, encoding);
      const done = callbackOf(chunk, encoding, callback);
      if (sink.dismissed) discard(done);
      else {
        implyHead();
        sink.end(bytes, done);
      }
      return res;
    },
    flushHeaders() {
      if (sink.dismissed) return;
      implyHead();
      sink.flushHeaders();
    },
  };
}

/** Once it flows: straight on, with a look at what passes. */
function passing(res: ServerResponse, sink: ResponseSink, found: Methods): Readonly<Record<Writer, Call>> {
  return {
    writeHead: (...args) => Reflect.apply(found.writeHead, res, args),
    flushHeaders: () => found.flushHeaders.call(res),
    write(chunk, encoding, ...rest) {
      const flowing: unknown = Reflect.apply(found.write, res, [chunk, encoding, ...rest]);
      sink.passed(chunk, encoding, flowing !== false);
      return flowing;
    },
    end(chunk, encoding, ...rest) {
      sink.passed(chunk, encoding, true);
      return Reflect.apply(found.end, res, [chunk, encoding, ...rest]);
    },
  };
}

function methodsOf(res: ServerResponse) {
  return {
    writeHead: res.writeHead,
    write: res.write,
    end: res.end,
    flushHeaders: res.flushHeaders,
    destroy: res.destroy,
    setHeader: res.setHeader,
    appendHeader: res.appendHeader,
    removeHeader: res.removeHeader,
    writeEarlyHints: res.writeEarlyHints,
  };
}

/** Whose facts a response shows; undefined: its own. */
const FACTS = Symbol("farebox.facts");
type Facts = Pick<ResponseSink, "headersSent" | "writableEnded" | "writableNeedDrain">;
type Shown = ServerResponse & { [FACTS]?: Facts | undefined };

/**
 * The same getters for every response, and none is deleted: with getters of its own each response would get a hidden class of its
 * own, which keeps the whole call in memory until the next full garbage collection.
 */
const GETTERS = {
  headersSent: getter("headersSent"),
  writableEnded: getter("writableEnded"),
  writableNeedDrain: getter("writableNeedDrain"),
};

function getter(name: keyof Facts): PropertyDescriptor {
  return {
    configurable: true,
    get(this: Shown): unknown {
      const facts = this[FACTS];
      return facts === undefined ? Reflect.get(Object.getPrototypeOf(this), name, this) : facts[name];
    },
  };
}

/** Whether a sink is between somebody and this response already: something is being sold here. */
export function isIntercepted(res: ServerResponse): boolean {
  return FACTS in res;
}

function showFacts(res: Shown, facts: Facts): void {
  res[FACTS] = facts;
  Object.defineProperties(res, GETTERS);
}

/** Later than a tick: a handler that writes in a loop to nobody must not keep the process from everything else. */
function discard(done: Done): true {
  setImmediate(done, streamDestroyed());
  return true;
}

function callbackOf(...candidates: readonly unknown[]): Done {
  return candidates.find(isDone) ?? (() => {});
}

function isDone(value: unknown): value is Done {
  return typeof value === "function";
}
