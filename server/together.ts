/** Has the answer written with those that became ready in the same turn of the event loop; what follows it runs after all of them. */
export type Together = (write: () => void, after?: () => void) => void;

/** So many leave at once: nobody waits for the work of more. */
const MOST = 32;

/**
 * Answers that become ready in one turn of the event loop leave at its end, one right after the other. A write wakes whoever waits for
 * it, which costs our thread more than the write itself; with others right behind it, its reader is awake already.
 *
 * Nothing that is called here may throw.
 */
export function createTogether(most = MOST): Together {
  let writes: (() => void)[] = [];
  let rest: (() => void)[] = [];

  function leave(): void {
    const [writing, following] = [writes, rest];
    writes = [];
    rest = [];
    for (const write of writing) write();
    for (const after of following) after();
  }

  return (write, after) => {
    writes.push(write);
    if (after !== undefined) rest.push(after);
    if (writes.length >= most) leave();
    else if (writes.length === 1) setImmediate(leave);
  };
}
