// Loaded before the gateway (`node --import`): the process kills itself right before or after one step of its ledger, told by
// DIE_AT ("before credit", "after createKey"). "After" is when the worker says that the step is committed.
import { Worker } from "node:worker_threads";

const [when, method] = (process.env.DIE_AT ?? "").split(" ");
const batches = [];
const { postMessage, emit } = Worker.prototype;

function die() {
  process.kill(process.pid, "SIGKILL");
  // The signal comes a moment later; nothing may happen in it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

Worker.prototype.postMessage = function (message, ...rest) {
  if (message?.kind === "batch") {
    const here = message.calls.some((call) => call.method === method);
    if (here && when === "before") die();
    batches.push(here);
  }
  return postMessage.call(this, message, ...rest);
};

Worker.prototype.emit = function (event, message, ...rest) {
  if (event === "message" && message?.kind === "committed" && batches.shift() === true && when === "after")
    die();
  return emit.call(this, event, message, ...rest);
};
