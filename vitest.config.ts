import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const builtThread = fileURLToPath(new URL("test/support/built-thread.ts", import.meta.url));

/** Each in a process of its own: they replace a module of Node, or watch the whole heap or what V8 made of a function. */
const APART = [
  "test/ledger/lasting-database.test.ts",
  "test/middleware/hidden-classes.test.ts",
  "test/middleware/memory.test.ts",
  "test/payment/left-behind.test.ts",
  "test/payment/signature-unchecked.test.ts",
  "test/proxy/endless-answer.test.ts",
];
const alias = [{ find: /^.*\/thread\.ts$/, replacement: builtThread }];
// A hang, not a speed: machines with other work to do take several times as long.
const timeouts = { testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    globalSetup: ["test/support/build-once.ts"],
    pool: "forks",
    // One more than the usual cores: many files wait for a process, a browser or a retry half of their time.
    maxWorkers: 3,
    projects: [
      // Loading the program and its packages takes longer than most of these files.
      {
        test: {
          ...timeouts,
          name: "together",
          alias,
          include: ["test/**/*.test.ts"],
          exclude: APART,
          isolate: false,
        },
      },
      { test: { ...timeouts, name: "apart", alias, include: APART } },
    ],
  },
});
