import { createServer } from "node:http";
import { challenge } from "./challenge.mjs";

const { PORT, TOGETHER } = process.env;
/** As many as the gateway lets leave together. */
const MOST = 32;
const { status, headers, body } = challenge();

function send(res) {
  res.writeHead(status, headers);
  res.end(body);
}

/** Answers of one turn of the event loop leave at its end. */
let ready = [];
function leave() {
  const answers = ready;
  ready = [];
  answers.forEach(send);
}

function sendTogether(res) {
  ready.push(res);
  if (ready.length >= MOST) leave();
  else if (ready.length === 1) setImmediate(leave);
}

const answer = TOGETHER === "1" ? sendTogether : send;
createServer((_req, res) => answer(res)).listen(Number(PORT), "127.0.0.1");
