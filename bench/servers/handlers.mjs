import { createHash } from "node:crypto";

const EVENTS = 10;
const EVENT_EVERY_MS = 100;
const BODY_BYTES = 200 * 1024 * 1024;
const CHUNK = Buffer.alloc(64 * 1024, createHash("sha256").update("farebox").digest());
const REPORT = JSON.stringify({
  report: "daily",
  lines: Array.from({ length: 16 }, (_, line) => ({ line })),
});

/** What is sold, the same code in the upstream of the gateway and in the handlers of the middlewares. */
export const HANDLERS = { "/report": report, "/stream": stream, "/body": body };

function report(_req, res) {
  res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(REPORT) });
  res.end(REPORT);
}

/** Server-sent events for one second; the first says when it was written, ms since 1970. */
function stream(_req, res) {
  res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  let sent = 0;
  const send = () => {
    sent += 1;
    res.write(`data: ${JSON.stringify({ sent, at: performance.timeOrigin + performance.now() })}\n\n`);
    if (sent < EVENTS) return;
    clearInterval(timer);
    res.end();
  };
  const timer = setInterval(send, EVENT_EVERY_MS);
  res.on("close", () => clearInterval(timer));
  send();
}

/** 200 MiB with back-pressure, as a pipe writes it. */
function body(_req, res) {
  res.writeHead(200, { "content-type": "application/octet-stream", "content-length": BODY_BYTES });
  let left = BODY_BYTES;
  const fill = () => {
    while (left > 0) {
      left -= CHUNK.length;
      if (!res.write(CHUNK)) return;
    }
    res.end();
  };
  res.on("drain", fill);
  fill();
}
