import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { built } from "../support/built.ts";
import { keepLines, type LogLines } from "../support/log-lines.ts";

/** A process of ours: its log lines, everything else it wrote, and its end. */
export interface Child {
  /** The first log line, past or to come, that has these fields. */
  readonly line: LogLines["line"];
  /** What it wrote so far: stdout and stderr. */
  readonly output: () => string;
  /** Resolves when this text was written. */
  says(text: string): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** The exit code; -1 if a signal ended it. */
  readonly exit: Promise<number>;
  /** Ends it if it still runs. */
  stop(): Promise<void>;
}

interface ChildOptions {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Runs a file of the build, `server/main.js`, in a directory of its own, with this environment and nothing of ours. */
export function startChild(
  file: string,
  options: ChildOptions & { readonly args?: readonly string[] },
): Child {
  return startNode([built(file), ...(options.args ?? [])], options);
}

/** The same, with all words of node's command line. */
export function startNode(words: readonly string[], options: ChildOptions): Child {
  const child: ChildProcess = spawn(process.execPath, words, {
    cwd: options.cwd,
    env: { PATH: process.env["PATH"], ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { line, destination } = keepLines();
  let output = "";
  const waiting = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) throw new Error("the child has no pipes");
    createInterface({ input: stream }).on("line", (text) => {
      output += `${text}\n`;
      if (text.startsWith("{")) destination.write(text);
      for (const check of waiting) check();
    });
  }
  const exit = once(child, "close").then(([code]) => (typeof code === "number" ? code : -1));
  return {
    line,
    output: () => output,
    says: (text) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (!output.includes(text)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
        void exit.then(() => reject(new Error(`ended without saying ${JSON.stringify(text)}: ${output}`)));
      }),
    kill: (signal) => void child.kill(signal),
    exit,
    stop: async () => {
      child.kill("SIGKILL");
      await exit;
    },
  };
}
