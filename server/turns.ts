import { inOwnContext } from "./own-context.ts";

/** Spreads work over turns, so that much of it at once does not keep everybody else waiting for as long as it takes together. */
export interface Turns {
  /**
   * Runs the work now if this turn still has room, else in a later one; first come, first served.
   * It runs in the asynchronous context of its caller, whoever's turn it is.
   * False: so much waits already that this was not taken. Work that returns false had nothing to do, and takes nobody's turn.
   */
  run(work: () => unknown): boolean;
}

export interface TurnsOptions {
  /** About how long the work of one turn may take; one piece is never divided, and each turn has room for one. */
  readonly budgetMs: number;
  /** The work takes about this share of the time at most, and a turn comes each millisecond at most; undefined: with each turn of the event loop. */
  readonly share?: number;
  /** So many may wait. */
  readonly most?: number;
  /** A clock in ms that never goes back. */
  readonly now?: () => number;
}

/** None of the work may throw. */
export function createTurns(options: TurnsOptions): Turns {
  const { budgetMs, share, most = Number.POSITIVE_INFINITY, now = () => performance.now() } = options;
  const waiting: (() => unknown)[] = [];
  let spentMs = 0;
  let scheduled = false;

  /** Whether there was something to do. */
  function execute(work: () => unknown): boolean {
    const started = now();
    const done = work() !== false;
    spentMs += now() - started;
    return done;
  }

  function schedule(): void {
    scheduled = true;
    if (share === undefined) setImmediate(turn);
    else setTimeout(turn, Math.max(1, spentMs / share - spentMs));
  }

  function turn(): void {
    spentMs = 0;
    scheduled = waiting.length > 0;
    if (!scheduled) return;
    for (let hasRoom = true; hasRoom; ) {
      const work = waiting.shift();
      if (work === undefined) break;
      if (execute(work)) hasRoom = spentMs < budgetMs;
    }
    schedule();
  }

  return {
    run(work) {
      if (waiting.length >= most) return false;
      if (waiting.length === 0 && (!scheduled || spentMs < budgetMs)) execute(work);
      else waiting.push(inOwnContext(work));
      if (!scheduled) schedule();
      return true;
    },
  };
}

/** So many that are held back wait at a time; each holds a connection. */
const MOST_HELD_BACK = 5_000;

/** What is held back takes no more of a core. */
const HELD_BACK_SHARE = 0.1;

/**
 * Turns for what is most likely a flood: one at a time and at most one each millisecond, so that floods from however many connections take
 * little of a core, and whoever sends the next when the last was answered is slowed down with it.
 */
export function createHeldBackTurns(): Turns {
  return createTurns({ budgetMs: 0, share: HELD_BACK_SHARE, most: MOST_HELD_BACK });
}
