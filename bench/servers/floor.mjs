import { createServer } from "node:http";
import { Pool } from "undici";
import { challenge } from "./challenge.mjs";
import { HANDLERS } from "./handlers.mjs";

/**
 * What no seller that asks a facilitator twice can beat here: both calls, and the answer. It checks nothing, and sends the
 * bytes of the first payment for all of them.
 */
const { PORT, FACILITATOR_URL } = process.env;
const { status, headers, body } = challenge();
const pool = new Pool(FACILITATOR_URL, {
  connections: 512,
  pipelining: 1,
  headersTimeout: 0,
  bodyTimeout: 0,
});
const POST_HEADERS = ["accept", "application/json", "content-type", "application/json"];
let bytes;

/** What verify and settle are sent (x402 v2 §7). */
function encode(signature) {
  const paymentPayload = JSON.parse(Buffer.from(signature, "base64").toString("utf8"));
  const { x402Version, accepted } = paymentPayload;
  return Buffer.from(JSON.stringify({ x402Version, paymentPayload, paymentRequirements: accepted }));
}

/** `dispatch`, because it copies least. */
function post(path, done) {
  const ignore = () => {};
  pool.dispatch(
    { method: "POST", path, headers: POST_HEADERS, body: bytes },
    {
      onRequestStart: ignore,
      onResponseStart: ignore,
      onResponseData: ignore,
      onResponseEnd: () => done(),
      onResponseError: (_controller, error) => done(error),
    },
  );
}

createServer((req, res) => {
  const signature = req.headers["payment-signature"];
  if (signature === undefined) {
    res.writeHead(status, headers).end(body);
    return;
  }
  bytes ??= encode(signature);
  const fail = () => res.writeHead(502).end();
  post("/verify", (refused) => {
    if (refused) return fail();
    post("/settle", (failed) => (failed ? fail() : HANDLERS["/report"](req, res)));
  });
}).listen(Number(PORT), "127.0.0.1");
