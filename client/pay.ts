import { runPay } from "./run-pay.ts";

// A reader that has seen enough (`pay ... | head`) closes the pipe; that is not a fault.
process.stdout.on("error", () => process.exit());
const { env, stdout, stderr } = process;
process.exitCode = await runPay(process.argv.slice(2), { env, stdout, stderr });
