import process from "node:process";
import { runCommand } from "./cli/run-command.ts";
import { serveCommand } from "./cli/serve.ts";

/** `node dist/server/main.js` and `npm start`: the command `serve`, with its arguments. */
process.exit(await runCommand("serve", serveCommand, process.argv.slice(2)));
