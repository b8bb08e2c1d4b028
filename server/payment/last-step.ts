import { setTimeout } from "node:timers/promises";

/**
 * Before each try. Five minutes in all: a ledger that restarts or fails over is back by then, and nobody waits for the answer. Not
 * far apart: until it is written, the step is lost if this process dies.
 */
const WAITS_MS = [0, 250, 500, 1_000, ...Array<number>(150).fill(2_000)];

/**
 * A process that stood still goes on here as if nothing had been. After this long a store may have forgotten that the step was done
 * (scripts/usage.lua: 30 minutes), and would do it again.
 */
const GIVE_UP_MS = 1_200_000;

/**
 * Tries the last step of a charge until the ledger has taken it: what was served must be charged, and what was not must be freed.
 * Repeating it is harmless: a step that ran although its answer was lost is known by its fence or its hold. Resolves to false once
 * it is given up, which leaves the record to its lease. `onFault` hears of each try that failed.
 */
export async function tryLastStep(
  step: () => Promise<void>,
  onFault: (error: unknown) => void,
  wait = pause,
  now = Date.now,
): Promise<boolean> {
  const begun = now();
  for (const waitMs of WAITS_MS) {
    if (waitMs > 0) await wait(waitMs);
    if (now() - begun > GIVE_UP_MS) return false;
    try {
      await step();
      return true;
    } catch (error) {
      onFault(error);
    }
  }
  return false;
}

/** An answer that costs nothing waits so long for its charge to end. */
const ANSWER_MS = 1_000;

/** Resolves when the step has ended, or after a second: nobody's error waits for a ledger that is away. The step goes on. */
export async function endSoon(step: Promise<unknown>, wait = pause): Promise<void> {
  await Promise.race([step, wait(ANSWER_MS)]);
}

/** A process may exit meanwhile. */
function pause(ms: number): Promise<unknown> {
  return setTimeout(ms, undefined, { ref: false });
}
