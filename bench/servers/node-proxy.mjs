import { Agent, createServer, request } from "node:http";
import { endToEnd } from "./end-to-end.mjs";

/** Node alone as a reverse proxy, as fast as we can make it: connections kept both ways, nothing collected, nothing read. */
const { hostname, port, host } = new URL(process.env.UPSTREAM_URL);
const agent = new Agent({ keepAlive: true, noDelay: true });

createServer({ noDelay: true }, (req, res) => {
  const headers = endToEnd(req.rawHeaders, host);
  const onward = request({ agent, hostname, port, method: req.method, path: req.url, headers }, (answer) => {
    res.writeHead(answer.statusCode, endToEnd(answer.rawHeaders));
    answer.on("error", () => res.destroy());
    relay(answer, res);
  });
  onward.on("error", () => {
    if (res.headersSent) res.destroy();
    else res.writeHead(502).end();
  });
  res.on("close", () => {
    if (!res.writableFinished) onward.destroy();
  });
  relay(req, onward);
}).listen(Number(process.env.PORT), "127.0.0.1");

/** What `pipe` does, with fewer listeners. */
function relay(from, to) {
  from.on("data", (chunk) => {
    if (to.write(chunk)) return;
    from.pause();
    to.once("drain", () => from.resume());
  });
  from.on("end", () => to.end());
}
