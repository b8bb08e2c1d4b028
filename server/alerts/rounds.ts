/** Looks for what is due, again and again, and deals with all of it. */
export interface Rounds {
  /** Now, and from now on. */
  start(): void;
  /** One round; shared with one that runs. Resolves when all that it took was dealt with. Never rejects. */
  runOnce(): Promise<void>;
  /** Breaks off what is under way. */
  close(): Promise<void>;
}

export interface RoundsOptions<T> {
  /** At most so many; nobody else gets them for a while. */
  readonly take: (limit: number) => Promise<readonly T[]>;
  readonly tell: (item: T, signal: AbortSignal) => Promise<void>;
  readonly onFault: (error: unknown) => void;
  readonly everyMs: number;
  /** So many are told at once. */
  readonly atOnce: number;
}

export function createRounds<T>({ take, tell, onFault, everyMs, atOnce }: RoundsOptions<T>): Rounds {
  const closing = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;

  async function round(): Promise<void> {
    try {
      for (let isOver = false; !isOver && !closing.signal.aborted; ) {
        const items = await take(atOnce);
        await Promise.all(items.map((item) => tell(item, closing.signal).catch(onFault)));
        isOver = items.length === 0;
      }
    } catch (error) {
      onFault(error);
    }
  }

  function runOnce(): Promise<void> {
    running ??= round().finally(() => {
      running = undefined;
    });
    return running;
  }

  return {
    runOnce,
    start() {
      void runOnce();
      timer = setInterval(() => void runOnce(), everyMs).unref();
    },
    async close() {
      clearInterval(timer);
      closing.abort();
      await running;
    },
  };
}
