import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

interface LockedPackage {
  readonly version?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** npm leaves out the platform packages that its registry does not offer here; `npm ci` then refuses the whole file. */
test("the lock file names a version for every platform package, so that npm ci works on a fresh machine", () => {
  const text = readFileSync(new URL("../../package-lock.json", import.meta.url), "utf8");
  const packages: Record<string, LockedPackage> = JSON.parse(text).packages;
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter((name) => {
      const entry = packages[`${path}/node_modules/${name}`] ?? packages[`node_modules/${name}`];
      return entry?.version === undefined;
    }),
  );
  expect(missing).toEqual([]);
  expect(text).not.toContain('"resolved"');
});
