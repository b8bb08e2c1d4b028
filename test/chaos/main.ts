import { type Command, HELP, readCommand } from "./options.ts";
import { describe, summarise } from "./report.ts";
import { runChaos } from "./run-chaos.ts";
import { writeLogs } from "./write-logs.ts";
import { writeReliability } from "./write-reliability.ts";

/** 0: every promise was kept; 1: one was broken; 2: there is no result. */
async function run({ options, json, write, logs }: Command): Promise<number> {
  const stopping = new AbortController();
  process.once("SIGINT", () => stopping.abort());
  process.once("SIGTERM", () => stopping.abort());
  try {
    const result = await runChaos(options, (line) => process.stderr.write(`${line}\n`), stopping.signal);
    const summary = summarise(result);
    if (logs !== undefined) writeLogs(logs, result);
    process.stdout.write(json ? `${JSON.stringify(summary, undefined, 2)}\n` : describe(summary));
    if (write) writeReliability(describe(summary));
    return summary.violations.length === 0 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`chaos: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
}

function read(): Command | undefined {
  try {
    return readCommand(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`chaos: ${error instanceof Error ? error.message : String(error)}; see --help\n`);
    return process.exit(2);
  }
}

const command = read();
if (command === undefined) process.stdout.write(`${HELP}\n`);
process.exit(command === undefined ? 0 : await run(command));
