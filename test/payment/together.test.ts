import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createTogether } from "../../server/together.ts";

function recorded(most?: number) {
  const seen: string[] = [];
  const together = createTogether(most);
  const add = (name: string) =>
    together(
      () => seen.push(name),
      () => seen.push(`after ${name}`),
    );
  return { seen, add };
}

test("the first of a turn leaves at once, the others at its end, in order, and what follows them runs after all", async () => {
  const { seen, add } = recorded();
  for (const name of ["one", "two", "three"]) add(name);
  await Promise.resolve();
  expect(seen).toEqual(["one"]);
  await turn();
  expect(seen).toEqual(["one", "two", "three", "after one", "after two", "after three"]);
  add("four");
  expect(seen.slice(6)).toEqual(["four"]);
  await turn();
  expect(seen.slice(6)).toEqual(["four", "after four"]);
});

test("a full group leaves at once, and the next one at the end of the turn", async () => {
  const { seen, add } = recorded(2);
  for (const name of ["one", "two", "three", "four"]) add(name);
  expect(seen).toEqual(["one", "two", "three", "after one", "after two", "after three"]);
  await turn();
  expect(seen.slice(6)).toEqual(["four", "after four"]);
});

test("what becomes ready while others leave is not lost", async () => {
  const together = createTogether(1);
  const seen: string[] = [];
  together(
    () => seen.push("one"),
    () => together(() => seen.push("two")),
  );
  await turn();
  expect(seen).toEqual(["one", "two"]);
});

test.each([2, 32])(
  "each write, and what follows it, has the asynchronous context of its caller (%i at once)",
  async (most) => {
    const together = createTogether(most);
    const user = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const note = (what: string) => () => seen.push(`${what} of ${user.getStore()}`);
    for (const name of ["one", "two", "three"]) {
      user.run(name, () => together(note("write"), note("rest")));
    }
    await turn();
    const each = (what: string) => ["one", "two", "three"].map((name) => `${what} of ${name}`);
    expect(seen).toEqual(expect.arrayContaining([...each("write"), ...each("rest")]));
  },
);
