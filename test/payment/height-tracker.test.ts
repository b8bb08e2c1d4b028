import { expect, test } from "vitest";
import { createHeightTracker } from "../../server/payment/height-tracker.ts";
import { createManualClock } from "../support/manual-clock.ts";

const INTERVAL_MS = 5_000;
const MARGIN = 20n;

/** A chain whose answers are given one by one. */
function setUp() {
  const clock = createManualClock();
  const questions: { resolve: (height: bigint) => void; reject: (error: Error) => void }[] = [];
  const height = () =>
    new Promise<bigint>((resolve, reject) => {
      questions.push({ resolve, reject });
    });
  const tracker = createHeightTracker({ chain: { height }, intervalMs: INTERVAL_MS, clock });
  async function answer(reply: bigint | Error): Promise<void> {
    const question = questions.at(-1);
    const polled = tracker.poll();
    if (typeof reply === "bigint") question?.resolve(reply);
    else question?.reject(reply);
    await polled;
  }
  return { clock, questions, tracker, answer };
}

test("unknown until the first answer, then the height, its age in blocks and the margin", async () => {
  const { clock, tracker, answer } = setUp();
  expect(tracker.upperBound()).toBeUndefined();
  await answer(1_000n);
  expect(tracker.upperBound()).toBe(1_000n + MARGIN);
  clock.advance(1);
  expect(tracker.upperBound()).toBe(1_001n + MARGIN);
  clock.advance(699);
  expect(tracker.upperBound()).toBe(1_002n + MARGIN);
  clock.advance(1);
  expect(tracker.upperBound()).toBe(1_003n + MARGIN);
  tracker.close();
});

test("the age counts from the question: a slow answer may have been read at its start", async () => {
  const { clock, tracker, answer } = setUp();
  clock.advance(3_500);
  await answer(1_000n);
  expect(tracker.upperBound()).toBe(1_010n + MARGIN);
  tracker.close();
});

test("asks again after the interval, one question at a time", async () => {
  const { clock, questions, tracker, answer } = setUp();
  void tracker.poll();
  clock.advance(10 * INTERVAL_MS);
  expect(questions).toHaveLength(1);
  await answer(1_000n);
  clock.advance(INTERVAL_MS);
  expect(questions).toHaveLength(2);
  await answer(1_012n);
  expect(tracker.upperBound()).toBe(1_012n + MARGIN);
  tracker.close();
});

test("undefined after 60 s of failures, and back with the next good answer", async () => {
  const { clock, tracker, answer } = setUp();
  await answer(1_000n);
  for (let i = 0; i < 12; i += 1) {
    clock.advance(INTERVAL_MS);
    expect(tracker.upperBound()).toBeDefined();
    await answer(new Error("down"));
  }
  clock.advance(1);
  expect(tracker.upperBound()).toBeUndefined();
  clock.advance(INTERVAL_MS - 1);
  await answer(900n);
  expect(tracker.upperBound()).toBe(900n + MARGIN);
  tracker.close();
});

test("a height below the last one does not lower the bound", async () => {
  const { clock, tracker, answer } = setUp();
  await answer(1_000n);
  clock.advance(INTERVAL_MS);
  await answer(999n);
  expect(tracker.upperBound()).toBe(1_015n + MARGIN);
  tracker.close();
});

test("time that only the date noticed counts; a date set back does not make it younger", async () => {
  const { clock, tracker, answer } = setUp();
  await answer(1_000n);
  clock.shiftWall(35_000);
  expect(tracker.upperBound()).toBe(1_100n + MARGIN);
  clock.shiftWall(-600_000);
  clock.advance(350);
  expect(tracker.upperBound()).toBe(1_001n + MARGIN);
  tracker.close();
});

test("closed, it asks no more", async () => {
  const { clock, questions, tracker, answer } = setUp();
  const answered = answer(1_000n);
  tracker.close();
  await answered;
  expect(clock.waiting()).toEqual([]);
  expect(questions).toHaveLength(1);
});
