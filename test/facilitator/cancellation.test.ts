import { expect, test } from "vitest";
import { Cancellation } from "../../facilitator-client/cancellation.ts";

test("everybody who listens is told once, in order; who has stopped listening is not", () => {
  const cancellation = new Cancellation();
  const told: string[] = [];
  const [first, second, third] = ["first", "second", "third"].map((name) => () => void told.push(name));
  if (first === undefined || second === undefined || third === undefined) throw new Error("three are needed");
  for (const listener of [first, second, third]) cancellation.addEventListener("abort", listener);
  cancellation.removeEventListener("abort", second);
  cancellation.removeEventListener("abort", () => undefined);
  expect(cancellation.aborted).toBe(false);
  cancellation.abort();
  cancellation.abort();
  expect(cancellation.aborted).toBe(true);
  expect(told).toEqual(["first", "third"]);
});

test("who stops listening while others are told changes nothing for them; who comes later is not told", () => {
  const cancellation = new Cancellation();
  const told: string[] = [];
  const leaving = (): void => {
    told.push("leaving");
    expect(cancellation.aborted).toBe(true);
    cancellation.removeEventListener("abort", leaving);
    cancellation.addEventListener("abort", () => void told.push("late"));
  };
  cancellation.addEventListener("abort", leaving);
  cancellation.addEventListener("abort", () => void told.push("staying"));
  cancellation.abort();
  cancellation.abort();
  expect(told).toEqual(["leaving", "staying"]);
});
