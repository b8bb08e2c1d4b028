import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const builtThread = fileURLToPath(new URL("test/support/built-thread.ts", import.meta.url));

export default defineConfig({
  test: {
    alias: [{ find: /^.*\/thread\.ts$/, replacement: builtThread }],
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/build-once.ts"],
    pool: "forks",
    maxWorkers: 2,
    // A hang, not a speed: machines with other work to do take several times as long.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
