import process from "node:process";
import type { Config } from "./config.ts";
import { createLogger, type Logger } from "./log.ts";
import { startGateway } from "./start.ts";

/** Runs a gateway until SIGTERM or SIGINT; resolves when it has drained. Rejects if it cannot start. */
export async function serve(config: Config): Promise<void> {
  const log = createLogger({ level: config.logLevel });
  const local = config.network === "local" ? await startLocally(config) : undefined;
  try {
    await serveUntilStopped(local?.config ?? config, log, local?.banner);
  } finally {
    await local?.close();
  }
  log.info("stopped");
  await log.flush();
}

async function serveUntilStopped(config: Config, log: Logger, banner: string | undefined): Promise<void> {
  const gateway = await startGateway({
    config,
    log,
    onFatal: (error) => {
      log.fatal({ err: error }, "the ledger failed; stopping so that nothing is served unrecorded");
      void log.flush().finally(() => process.exit(1));
    },
  });
  if (banner !== undefined) process.stdout.write(`${banner}\n`);
  log.info({ url: gateway.url, adminPort: gateway.adminPort, network: config.network }, "listening");
  const signal = await new Promise<string>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
  log.info({ signal, drainMs: config.drainMs }, "draining; a second signal stops at once");
  process.once("SIGTERM", () => process.exit(1));
  process.once("SIGINT", () => process.exit(1));
  await gateway.close();
}

async function startLocally(config: Config) {
  const { startLocalMode } = await import("./local-mode.ts");
  return startLocalMode(config);
}
