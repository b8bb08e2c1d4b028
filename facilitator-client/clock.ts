/** Time as the background tasks see it; a test injects its own. */
export interface Clock {
  /** Milliseconds that never run backwards, with no relation to the date. */
  now(): number;
  /** Milliseconds since 1970. May jump either way when the machine's clock is set. */
  wall(): number;
  /** Runs `task` once after `ms`; the returned function cancels it. Never keeps the process alive. */
  after(ms: number, task: () => void): () => void;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, task) => {
    const timer = setTimeout(task, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
