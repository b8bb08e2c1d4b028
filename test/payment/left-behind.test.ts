import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Cancellation } from "../../facilitator-client/cancellation.ts";
import { type Placed, Roster } from "../../server/roster.ts";
import { decodeV2, encode, payload } from "./wire-payload.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as (options: { type: "minor" | "major" }) => void;

const TIMES = 2_000;
const COLLECT_EVERY = 20;
/** Fewer than come between two collections, so that nobody is met by two. */
const AT_WORK = 8;
/** What the memory of one object would be rounded to; those that do leave something leave kilobytes. */
const LITTLE_BYTES = 200;

function oldSpaceBytes(): number {
  const old = getHeapSpaceStatistics().find(({ space_name }) => space_name === "old_space");
  return old?.space_used_size ?? Number.NaN;
}

/** Bytes that outlive the quick collections, for each time; a full one would take them. */
function leftBehind(work: () => unknown): number {
  const repeat = (): void => {
    for (let time = 1; time <= TIMES; time += 1) {
      work();
      if (time % COLLECT_EVERY === 0) collect({ type: "minor" });
    }
  };
  repeat();
  collect({ type: "major" });
  const before = oldSpaceBytes();
  repeat();
  return (oldSpaceBytes() - before) / TIMES;
}

const header = encode(payload);

test.each<[string, () => unknown]>([
  ["a payment that was read", () => decodeV2(header)],
  ["a cancellation", () => new Cancellation().addEventListener("abort", () => payload)],
])("%s is forgotten at once", (_, work) => {
  expect(leftBehind(work)).toBeLessThan(LITTLE_BYTES);
});

test("who has left a roster is forgotten, while others are in it", () => {
  const roster = new Roster<Member>();
  const atWork: Member[] = [];
  const callOfMany = (): void => {
    const member = { place: 0, call: Array(500).fill(roster.size) };
    roster.add(member);
    atWork.push(member);
    const oldest = atWork.length > AT_WORK ? atWork.shift() : undefined;
    if (oldest !== undefined) roster.delete(oldest);
  };
  expect(leftBehind(callOfMany)).toBeLessThan(LITTLE_BYTES);
});

interface Member extends Placed {
  readonly call: readonly number[];
}

test("the measure sees what is kept", () => {
  const kept: unknown[] = [];
  expect(leftBehind(() => kept.push(decodeV2(header)))).toBeGreaterThan(LITTLE_BYTES * 5);
});
