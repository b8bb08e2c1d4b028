/** What can be in a roster; only the roster touches its place. */
export interface Placed {
  place: number;
}

/**
 * Who is at work now. In the place of a `Set`, where each call is in it for a moment: whenever a `Set` is filled up it makes itself a new
 * table, and V8's quick collections keep the old ones and all who were in them until the next full collection.
 */
export class Roster<T extends Placed> implements Iterable<T> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  /** Nobody may be in it twice, nor in two. */
  add(member: T): void {
    member.place = this.#members.length;
    this.#members.push(member);
  }

  /** Nothing happens if it is not in it. */
  delete(member: T): void {
    if (this.#members[member.place] !== member) return;
    const last = this.#members.pop();
    if (last === undefined || last === member) return;
    this.#members[member.place] = last;
    last.place = member.place;
  }

  /** Those who are in it when it begins. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.#members].values();
  }
}
