import express from "express";
import { Pool } from "undici";
import { endToEnd } from "./end-to-end.mjs";

/** Express 5, the first `app.use`, and undici's pool with `dispatch`, which copies least. */
const upstream = new URL(process.env.UPSTREAM_URL);
const pool = new Pool(upstream.origin, { pipelining: 1 });
const app = express();
app.disable("x-powered-by");

app.use((req, res) => {
  const headers = endToEnd(req.rawHeaders, upstream.host);
  const body = req.method === "GET" || req.method === "HEAD" ? null : req;
  pool.dispatch({ method: req.method, path: req.url, headers, body }, relayTo(res));
});
app.listen(Number(process.env.PORT), "127.0.0.1");

function relayTo(res) {
  return {
    onRequestStart(controller) {
      res.on("close", () => {
        if (!res.writableFinished) controller.abort(new Error("the client left"));
      });
    },
    onResponseStart({ rawHeaders }, status) {
      res.writeHead(status, endToEnd(rawHeaders));
    },
    onResponseData(controller, chunk) {
      if (res.write(chunk)) return;
      controller.pause();
      res.once("drain", () => controller.resume());
    },
    onResponseEnd() {
      res.end();
    },
    onResponseError() {
      if (res.headersSent) res.destroy();
      else res.writeHead(502).end();
    },
  };
}
