import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { setFlagsFromString } from "node:v8";
import { expect, test } from "vitest";
import { AnswerCopy } from "../../server/payment/answer-copy.ts";
import { HeldAnswer } from "../../server/payment/held-answer.ts";
import { interceptResponse, type ResponseSink } from "../../server/payment/response-methods.ts";

setFlagsFromString("--allow-natives-syntax");
/** V8's own answers: whether two objects share their hidden class, and whether an object still has one. */
const haveSameClass = new Function("a", "b", "return %HaveSameMap(a, b)");
const hasClass = new Function("a", "return %HasFastProperties(a)");

function sink(): ResponseSink {
  return {
    head: () => undefined,
    write: () => true,
    end: () => undefined,
    flushHeaders: () => undefined,
    destroy: () => false,
    passed: () => undefined,
    headersSent: true,
    writableEnded: true,
    writableNeedDrain: true,
    dismissed: false,
  };
}

function answered(): ServerResponse {
  const res = new ServerResponse(new IncomingMessage(new Socket()));
  const { bypass, letPass } = interceptResponse(res, sink());
  expect([res.headersSent, res.writableEnded, res.writableNeedDrain]).toEqual([true, true, true]);
  bypass(() => {
    expect([res.headersSent, res.writableEnded, res.writableNeedDrain]).toEqual([false, false, false]);
    res.setHeader("x-answer", "ours");
  });
  expect(res.headersSent).toBe(true);
  letPass();
  expect([res.headersSent, res.writableEnded, res.writableNeedDrain]).toEqual([false, false, false]);
  return res;
}

/** V8 keeps a hidden class, and the closures it names, until a full garbage collection: one for each call holds whole calls in memory. */
test("responses of all calls share a hidden class, from the first call to the last", () => {
  // The first few settle what the class is.
  for (let call = 0; call < 3; call += 1) answered();
  const [one, other] = [answered(), answered()];
  expect(hasClass(one)).toBe(true);
  expect(haveSameClass(one, other)).toBe(true);
});

test("a bypass within a bypass leaves the outer one as it was", () => {
  const res = new ServerResponse(new IncomingMessage(new Socket()));
  const { bypass } = interceptResponse(res, sink());
  expect(() => res.setHeader("x-answer", "theirs")).toThrow(/after they are sent/);
  bypass(() => {
    bypass(() => undefined);
    res.setHeader("x-answer", "ours");
  });
  expect(res.getHeader("x-answer")).toBe("ours");
  expect(() => res.setHeader("x-answer", "theirs")).toThrow(/after they are sent/);
});

test.each([
  ["what is held of an answer", () => new HeldAnswer()],
  ["a copy of an answer", () => new AnswerCopy(1_000)],
])("%s has the class of all others", (_, make) => {
  const one = make();
  expect(hasClass(one)).toBe(true);
  expect(haveSameClass(one, make())).toBe(true);
});
