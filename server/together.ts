import { inOwnContext } from "./own-context.ts";

/** Has the answer written with those that became ready in the same turn of the event loop; what follows it runs after all of them. */
export type Together = (write: () => void, after?: () => void) => void;

/** So many leave at once: nobody waits for the work of more. */
const MOST = 32;

/**
 * The first answer that becomes ready in a turn of the event loop leaves at once, the others at its end, one right after the other. A
 * write wakes whoever waits for it, which costs our thread more than the write itself; with others right behind it, its reader is awake
 * already. So under load nearly all leave together, and where little goes on nobody waits for the rest of a turn.
 *
 * What is called here may not throw. It runs in the asynchronous context of its own caller: a middleware in front sees its request in it.
 */
export function createTogether(most = MOST): Together {
  let writes: (() => void)[] = [];
  let rest: (() => void)[] = [];
  let isFirst = true;

  function leave(): void {
    const [writing, following] = [writes, rest];
    writes = [];
    rest = [];
    for (const write of writing) write();
    for (const after of following) after();
  }

  function endTurn(): void {
    isFirst = true;
    leave();
  }

  return (write, after) => {
    if (after !== undefined) rest.push(inOwnContext(after));
    if (isFirst) {
      isFirst = false;
      setImmediate(endTurn);
      write();
      return;
    }
    writes.push(inOwnContext(write));
    if (writes.length >= most) leave();
  };
}
