import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** One gateway: a process that comes and goes, on ports that stay. */
export interface Gateway {
  readonly url: string;
  readonly adminUrl: string;
  /** The program ended by itself since it was last started: its exit code. */
  readonly failed: number | undefined;
  /** Resolves when it sells; rejects if it ends or does not come up. */
  start(skewMs: number): Promise<void>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves to its exit code. */
  stop(): Promise<number>;
}

export interface GatewayOptions {
  readonly main: string;
  readonly cwd: string;
  readonly port: number;
  readonly adminPort: number;
  readonly env: Readonly<Record<string, string>>;
  /** What it writes goes here. */
  readonly logPath: string;
  /** A program that ends before it sells is started so often: more than once where its store may be away. */
  readonly tries: number;
}

const SKEWED_CLOCK = fileURLToPath(new URL("skewed-clock.mjs", import.meta.url));
const START_MS = 30_000;
const ASK_MS = 30;
const AGAIN_MS = 250;

export function createGateway(options: GatewayOptions): Gateway {
  const { port, adminPort, env, cwd, main } = options;
  const url = `http://127.0.0.1:${port}`;
  const log = openSync(options.logPath, "a");
  let child: ChildProcess | undefined;
  let failed: number | undefined;
  let starting = false;

  async function end(signal: NodeJS.Signals): Promise<number> {
    const ending = child;
    child = undefined;
    if (ending === undefined) return 0;
    if (ending.exitCode !== null || ending.signalCode !== null) return ending.exitCode ?? -1;
    const exit = once(ending, "exit");
    ending.kill(signal);
    const [code] = await exit;
    return typeof code === "number" ? code : -1;
  }

  async function start(skewMs: number): Promise<void> {
    starting = true;
    try {
      for (let tries = 1; ; tries += 1) {
        try {
          return await startOnce(skewMs);
        } catch (error) {
          if (tries >= options.tries) throw error;
          await wait(AGAIN_MS);
        }
      }
    } finally {
      starting = false;
    }
  }

  async function startOnce(skewMs: number): Promise<void> {
    failed = undefined;
    const started = spawn(process.execPath, ["--import", SKEWED_CLOCK, main], {
      cwd,
      env: {
        PATH: process.env["PATH"],
        ...env,
        PORT: String(port),
        ADMIN_PORT: String(adminPort),
        CHAOS_SKEW_MS: String(skewMs),
      },
      stdio: ["ignore", log, log],
    });
    child = started;
    started.once("exit", (code) => {
      if (child === started) failed = code ?? -1;
    });
    const deadline = Date.now() + START_MS;
    while (child === started && !(await sells(url))) {
      if (failed !== undefined) throw new Error(`A gateway ended with ${failed}; see ${options.logPath}.`);
      if (Date.now() > deadline) throw new Error(`A gateway did not come up; see ${options.logPath}.`);
      await wait(ASK_MS);
    }
  }

  return {
    url,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    get failed() {
      return starting ? undefined : failed;
    },
    start,
    kill: async () => void (await end("SIGKILL")),
    stop: () => end("SIGTERM"),
  };
}

/** The terms come from the facilitator, in the background: 402 once it can sell. */
async function sells(url: string): Promise<boolean> {
  try {
    const { status } = await fetch(`${url}/agent`, { method: "POST", signal: AbortSignal.timeout(2_000) });
    return status === 402;
  } catch {
    return false;
  }
}
