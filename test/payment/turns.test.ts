import { AsyncLocalStorage } from "node:async_hooks";
import { afterEach, expect, test, vi } from "vitest";
import { createTurns } from "../../server/turns.ts";

afterEach(() => vi.useRealTimers());

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test("work beyond a turn's budget is left for later turns, in its order", async () => {
  let clock = 0;
  const turns = createTurns({ budgetMs: 2, now: () => clock });
  const done: number[] = [];
  for (let index = 0; index < 7; index += 1) {
    turns.run(() => {
      clock += 1;
      done.push(index);
    });
  }
  expect(done).toEqual([0, 1]);
  await nextTurn();
  expect(done).toEqual([0, 1, 2, 3]);
  await nextTurn();
  expect(done).toEqual([0, 1, 2, 3, 4, 5]);
  await nextTurn();
  expect(done).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test("work that comes later waits behind what waits already", async () => {
  let clock = 0;
  const turns = createTurns({ budgetMs: 1, now: () => clock });
  const done: string[] = [];
  const named = (name: string) => () => {
    clock += 1;
    done.push(name);
  };
  turns.run(named("first"));
  turns.run(named("second"));
  setImmediate(() => turns.run(named("third")));
  await nextTurn();
  await nextTurn();
  await nextTurn();
  expect(done).toEqual(["first", "second", "third"]);
});

test("in a quiet turn work runs at once, however long it takes", async () => {
  let clock = 0;
  const turns = createTurns({ budgetMs: 2, now: () => clock });
  for (let index = 0; index < 3; index += 1) {
    let ran = false;
    turns.run(() => {
      clock += 100;
      ran = true;
    });
    expect(ran).toBe(true);
    await nextTurn();
  }
});

test("what is held back runs one by one, each a timer's tick after the other, and so many wait at most", async () => {
  let clock = 0;
  const turns = createTurns({ budgetMs: 0, share: 0.5, most: 3, now: () => clock });
  const done: number[] = [];
  const last = new Promise<void>((resolve) => {
    for (let index = 0; index < 6; index += 1) {
      const taken = turns.run(() => {
        clock += 1;
        done.push(index);
        if (index === 3) resolve();
      });
      // One ran at once, three wait.
      expect(taken).toBe(index <= 3);
    }
  });
  expect(done).toEqual([0]);
  await nextTurn();
  expect(done.length).toBeLessThanOrEqual(2);
  await last;
  expect(done).toEqual([0, 1, 2, 3]);
  expect(turns.run(() => done.push(6))).toBe(true);
});

test("what is held back rests so long after a piece that all take no more than their share", () => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  let clock = 0;
  const turns = createTurns({ budgetMs: 0, share: 0.1, now: () => clock });
  const done: number[] = [];
  const pieceOf = (ms: number) => () => {
    clock += ms;
    done.push(ms);
  };
  turns.run(pieceOf(2));
  turns.run(pieceOf(0.01));
  turns.run(pieceOf(3));
  expect(done).toEqual([2]);
  vi.advanceTimersByTime(17);
  expect(done).toEqual([2]);
  vi.advanceTimersByTime(1);
  expect(done).toEqual([2, 0.01]);
  // Never less than a tick.
  vi.advanceTimersByTime(1);
  expect(done).toEqual([2, 0.01, 3]);
  vi.advanceTimersByTime(26);
  expect(turns.run(pieceOf(1))).toBe(true);
  expect(done).toEqual([2, 0.01, 3]);
  vi.advanceTimersByTime(1);
  expect(done).toEqual([2, 0.01, 3, 1]);
});

test("what has nothing to do any more takes nobody's turn", async () => {
  const turns = createTurns({ budgetMs: 0, share: 0.5, now: () => 0 });
  const done: string[] = [];
  const finished = new Promise<void>((resolve) => {
    turns.run(() => done.push("first"));
    for (let index = 0; index < 1_000; index += 1) turns.run(() => false);
    turns.run(() => {
      done.push("second");
      setImmediate(resolve);
    });
    turns.run(() => done.push("third"));
  });
  await finished;
  // One tick for all who left and the second; the third is for the next.
  expect(done).toEqual(["first", "second"]);
});

test("work runs in the asynchronous context of its caller, whoever's turn it is", async () => {
  const turns = createTurns({ budgetMs: 0, now: () => 0 });
  const user = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  for (const name of ["one", "two", "three"]) {
    user.run(name, () => turns.run(() => seen.push(user.getStore())));
  }
  while (seen.length < 3) await nextTurn();
  expect(seen).toEqual(["one", "two", "three"]);
});
