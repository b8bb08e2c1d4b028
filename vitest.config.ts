import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/build-once.ts"],
    pool: "forks",
    maxWorkers: 2,
    // A hang, not a speed: machines with other work to do take several times as long.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
