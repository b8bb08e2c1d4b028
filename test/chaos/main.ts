import { HELP, readCommand } from "./options.ts";
import { describe, summarise } from "./report.ts";
import { runChaos } from "./run-chaos.ts";
import { writeReliability } from "./write-reliability.ts";

const command = readCommand(process.argv.slice(2));
if (command === undefined) {
  process.stdout.write(`${HELP}\n`);
} else {
  const { options, json, write } = command;
  const stopping = new AbortController();
  process.once("SIGINT", () => stopping.abort());
  process.once("SIGTERM", () => stopping.abort());
  const result = await runChaos(options, (line) => process.stderr.write(`${line}\n`), stopping.signal);
  const summary = summarise(result);
  process.stdout.write(json ? `${JSON.stringify(summary, undefined, 2)}\n` : describe(summary));
  if (write) writeReliability(describe(summary));
  process.exit(summary.violations.length === 0 ? 0 : 1);
}
