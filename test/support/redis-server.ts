import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { findProgram } from "./debian-program.ts";
import { lastingPort } from "./lasting-port.ts";

/** A real Redis of the test's own, on a free loopback port, that forgets nothing (append-only file, fsync at each write). */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** kill -9. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing is answered. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** Starts it again on the same port and data. */
  start(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

const SAFE = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"];

/** Starts a server; `settings` come after those that make it safe. */
export async function startRedis(settings: readonly string[] = []): Promise<RedisServer> {
  const directory = mkdtempSync(join(tmpdir(), "farebox-redis-"));
  const port = await lastingPort();
  const command = findProgram({
    names: ["redis-server"],
    package: "redis-server",
    neededBy: "The tests of the Redis ledger (version 7 or newer)",
  });
  const words = ["--port", String(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""];
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    child = spawn(command, [...words, ...SAFE, ...settings], { stdio: ["ignore", "pipe", "inherit"] });
    await ready(child);
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  await start();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    kill: () => end("SIGKILL"),
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    start,
    async stop() {
      await end("SIGKILL");
      rmSync(directory, { recursive: true });
    },
  };
}

/** Three masters that share the slots. */
export async function startRedisCluster(): Promise<{
  readonly url: string;
  readonly servers: readonly RedisServer[];
  stop(): Promise<void>;
}> {
  const servers = await Promise.all(
    [0, 1, 2].map(() => startRedis(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"])),
  );
  const clients = servers.map(({ url }) => new Redis(url));
  try {
    await Promise.all(
      clients.map((client, index) =>
        client.call(
          "CLUSTER",
          "ADDSLOTSRANGE",
          ...[SLOTS[index] ?? 0, (SLOTS[index + 1] ?? 0) - 1].map(String),
        ),
      ),
    );
    const [first, ...others] = servers;
    for (const { port } of others) await clients[0]?.call("CLUSTER", "MEET", "127.0.0.1", String(port));
    if (first === undefined) throw new Error("No server was started.");
    await Promise.all(clients.map(untilClusterAgrees));
  } finally {
    for (const client of clients) client.disconnect();
  }
  const hosts = servers.map(({ port }) => `127.0.0.1:${port}`).join(",");
  return {
    url: `redis-cluster://${hosts}`,
    servers,
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}

const SLOTS = [0, 5_461, 10_923, 16_384];

async function untilClusterAgrees(client: Redis): Promise<void> {
  for (;;) {
    const info = String(await client.call("CLUSTER", "INFO"));
    if (info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:3")) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function ready(child: ChildProcess): Promise<void> {
  const { stdout } = child;
  if (stdout === null) throw new Error("redis-server has no output.");
  let said = "";
  await new Promise<void>((resolve, reject) => {
    stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("Ready to accept connections")) resolve();
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`redis-server ended:\n${said.slice(-2_000)}`)));
  });
}
