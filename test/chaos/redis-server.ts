import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/** A Redis of one's own that writes every change before it answers. */
export interface RedisServer {
  readonly url: string;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again on what it wrote; resolves when it answers. */
  start(): Promise<void>;
}

const START_MS = 20_000;

/** Rejects if `redis-server` is not installed. */
export async function startRedis(port: number, directory: string): Promise<RedisServer> {
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    const settings = {
      port: String(port),
      bind: "127.0.0.1",
      dir: directory,
      save: "",
      appendonly: "yes",
      appendfsync: "always",
      "maxmemory-policy": "noeviction",
    };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    const started = spawn("redis-server", words, { stdio: "ignore" });
    child = started;
    let fault: Error | undefined;
    started.once("error", (cause) => {
      fault = new Error("redis-server is not installed.", { cause });
    });
    const deadline = Date.now() + START_MS;
    while (!(await answers(port))) {
      if (fault !== undefined) throw fault;
      if (Date.now() > deadline || started.exitCode !== null) throw new Error("Redis did not come up.");
      await wait(20);
    }
  }

  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    start,
    kill: async () => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    },
  };
}

/** False while it loads what it wrote. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.once("data", (reply) => {
      resolve(reply.toString("latin1").startsWith("+PONG"));
      socket.destroy();
    });
    socket.once("error", () => resolve(false));
  });
}
