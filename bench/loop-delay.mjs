import { writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";

/**
 * Preloaded into a server under test. On SIGUSR2 it writes what the event loop's delay was since the last time to
 * LOOP_DELAY_FILE and starts anew. Values include the 1 ms of the timer that measures.
 */
const histogram = monitorEventLoopDelay({ resolution: 1 });
histogram.enable();
let sequence = 0;
process.on("SIGUSR2", () => {
  sequence += 1;
  const ms = (nanoseconds) => nanoseconds / 1e6;
  const delay = {
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
  };
  writeFileSync(process.env.LOOP_DELAY_FILE, JSON.stringify({ sequence, ...delay }));
  histogram.reset();
});
