/** So many at a time of each key, first come, first served. Holds nothing for a key that nobody is in. */
export interface Places {
  /** Resolves when there is a place: to be left, whatever becomes of the work. False: too many wait, and nothing is to be left. */
  enter(key: string): Promise<boolean>;
  leave(key: string): void;
}

export interface PlacesOptions {
  readonly atOnce: number;
  /** Of each key; default: any number. */
  readonly mostWaiting?: number;
}

export function createPlaces({ atOnce, mostWaiting = Number.POSITIVE_INFINITY }: PlacesOptions): Places {
  const taken = new Map<string, { count: number; readonly waiting: (() => void)[] }>();
  return {
    async enter(key) {
      const places = taken.get(key) ?? { count: 0, waiting: [] };
      taken.set(key, places);
      if (places.count < atOnce) {
        places.count += 1;
        return true;
      }
      if (places.waiting.length >= mostWaiting) return false;
      await new Promise<void>((resolve) => places.waiting.push(resolve));
      return true;
    },
    leave(key) {
      const places = taken.get(key);
      if (places === undefined) return;
      const next = places.waiting.shift();
      // Whoever waits takes over the place.
      if (next !== undefined) next();
      else if (places.count > 1) places.count -= 1;
      else taken.delete(key);
    },
  };
}
