import type { Clock } from "../../facilitator-client/clock.ts";

export interface ManualClock extends Clock {
  /** Moves time on and runs, in order, the tasks that fall due. */
  advance(ms: number): void;
  /** Lets the steady clock stand still while the date moves on, as on a machine that slept (or the reverse, if negative). */
  shiftWall(ms: number): void;
  /** Milliseconds until each waiting task, soonest first. */
  waiting(): readonly number[];
}

/** A clock that moves only when told. */
export function createManualClock(): ManualClock {
  let now = 0;
  let shift = 1_700_000_000_000;
  let tasks: { readonly at: number; readonly task: () => void }[] = [];
  const byTime = () => tasks.toSorted((a, b) => a.at - b.at);
  return {
    now: () => now,
    wall: () => now + shift,
    after: (ms, task) => {
      const entry = { at: now + ms, task };
      tasks.push(entry);
      return () => {
        tasks = tasks.filter((each) => each !== entry);
      };
    },
    advance: (ms) => {
      const until = now + ms;
      for (let [next] = byTime(); next !== undefined && next.at <= until; [next] = byTime()) {
        const due = next;
        tasks = tasks.filter((each) => each !== due);
        now = due.at;
        due.task();
      }
      now = until;
    },
    shiftWall: (ms) => {
      shift += ms;
    },
    waiting: () => byTime().map(({ at }) => at - now),
  };
}
