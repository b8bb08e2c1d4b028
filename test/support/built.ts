import { dirname, join } from "node:path";
import { inject } from "vitest";

/** Where a file of the build is, such as `server/main.js`. */
export function built(file: string): string {
  return join(dirname(inject("main")), "..", file);
}
