import { type Command, parseInvocation } from "./command.ts";
import { failed, misused, print } from "./output.ts";

const COMMON_FLAGS = "--config FILE  the configuration file    --json  for programs    --help";

/** Runs a command with these arguments, or says how it is used. Resolves to the exit code, also when the command rejects. */
export async function runCommand(name: string, command: Command, argv: readonly string[]): Promise<number> {
  const invocation = parseInvocation(command, argv);
  if (typeof invocation === "string") {
    return misused(`farebox ${name}`, invocation, `Usage: farebox ${command.usage}`, argv.includes("--json"));
  }
  if (invocation === undefined) {
    const { usage, summary, details = [] } = command;
    return print([`Usage: farebox ${usage}`, "", summary, ...details, "", COMMON_FLAGS].join("\n"));
  }
  try {
    return await command.run(invocation);
  } catch (error) {
    return failed(error, invocation.json);
  }
}
