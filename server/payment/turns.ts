/**
 * Spreads work over turns of the event loop. Checking a payment takes about 0.2 ms; when many arrive in one turn, doing them
 * all at once would keep every other connection waiting for as long as they take together.
 */
export interface Turns {
  /** Runs the work now if this turn still has room, else in a later one; first come, first served. */
  run(work: () => void): void;
}

/**
 * `budgetMs`: about how long the work of one turn may take; one piece of work is never divided, and none may throw.
 * `now`: a clock in ms that never goes back.
 */
export function createTurns(budgetMs: number, now: () => number = () => performance.now()): Turns {
  const waiting: (() => void)[] = [];
  let spentMs = 0;
  let scheduled = false;

  function execute(work: () => void): void {
    const started = now();
    work();
    spentMs += now() - started;
  }

  function nextTurn(): void {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      spentMs = 0;
      while (waiting.length > 0 && spentMs < budgetMs) {
        const work = waiting.shift();
        if (work !== undefined) execute(work);
      }
      if (spentMs > 0) nextTurn();
    });
  }

  return {
    run(work) {
      if (waiting.length === 0 && spentMs < budgetMs) execute(work);
      else waiting.push(work);
      nextTurn();
    },
  };
}
