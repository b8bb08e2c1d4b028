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
  log.info({ signal, drainMs: config.drainMs }, "draining; one more signal stops at once");
  stopAtNextSignal(log);
  await gateway.close();
}

/**
 * npm hands signals on to what it runs. A terminal, or a supervisor that tells a whole group, has told us already, so under npm
 * one more signal says nothing new.
 */
function stopAtNextSignal(log: Logger): void {
  let handedOn = process.env["npm_lifecycle_event"] === undefined;
  const stop = (signal: string) => {
    if (handedOn) process.exit(1);
    handedOn = true;
    log.info({ signal }, "signal again, as npm hands it on; one more stops at once");
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

async function startLocally(config: Config) {
  const { startLocalMode } = await import("./local-mode.ts");
  return startLocalMode(config);
}
