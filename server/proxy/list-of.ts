import { z } from "zod";

/**
 * A list that is read up to its first bad item. zod's own collects what is wrong with each: a body of a megabyte has half a million
 * items, and whoever sends it has not paid.
 */
export function listOf<Item>(item: z.ZodType<Item>, { min = 0 }: { readonly min?: number } = {}) {
  return z
    .array(z.unknown())
    .min(min)
    .transform((items, context): Item[] => {
      const read: Item[] = [];
      for (const [index, input] of items.entries()) {
        const parsed = item.safeParse(input);
        if (!parsed.success) {
          const [issue] = parsed.error.issues;
          const path = [index, ...(issue?.path ?? [])];
          const message = issue?.message ?? "Invalid input";
          // `continue`: it is a list, so of a union this is the option that was meant.
          context.issues.push({ code: "custom", message, path, input, continue: true });
          return z.NEVER;
        }
        read.push(parsed.data);
      }
      return read;
    });
}

/** The same of values that need no schema of their own. */
export function plainListOf<Item>(
  isItem: (value: unknown) => value is Item,
  { min = 0, max = Number.POSITIVE_INFINITY }: { readonly min?: number; readonly max?: number } = {},
) {
  return z.custom<Item[]>(
    (value) =>
      Array.isArray(value) &&
      value.length >= min &&
      value.length <= max &&
      value.every((item) => isItem(item)),
  );
}
