import { createServer } from "node:http";

const { PORT, CHUNK_EVERY_MS = "20", CHUNKS = "50" } = process.env;

const USAGE = { prompt_tokens: 8, completion_tokens: 1, total_tokens: 9 };
/** The smallest answer that is a chat completion and says what it cost. */
const ANSWER = JSON.stringify({ model: "bench", choices: [{ message: { content: "Hi" } }], usage: USAGE });
const ANSWER_HEAD = { "content-type": "application/json", "content-length": ANSWER.length };
const STREAM_HEAD = { "content-type": "text/event-stream", "cache-control": "no-store" };

const CHUNK = event([{ index: 0, delta: { role: "assistant", content: "word " }, finish_reason: null }]);
const LAST = event([{ index: 0, delta: {}, finish_reason: "stop" }]);
const USED = event([], { usage: USAGE });

function event(choices, more = {}) {
  const chunk = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "bench", choices };
  return `data: ${JSON.stringify({ ...chunk, ...more })}\n\n`;
}

/** An OpenAI-compatible server that thinks in no time; the first chunk of a stream comes at once. */
createServer((req, res) => {
  let body = "";
  req.setEncoding("latin1");
  req.on("data", (text) => {
    body += text;
  });
  req.on("end", () => {
    if (body.includes('"stream":true')) stream(res, body.includes('"include_usage":true'));
    else res.writeHead(200, ANSWER_HEAD).end(ANSWER);
  });
}).listen(Number(PORT), "127.0.0.1");

function stream(res, withUsage) {
  res.writeHead(200, STREAM_HEAD);
  let left = Number(CHUNKS);
  const send = () => {
    left -= 1;
    if (left > 0) {
      res.write(CHUNK);
      return;
    }
    clearInterval(timer);
    res.end(`${LAST}${withUsage ? USED : ""}data: [DONE]\n\n`);
  };
  const timer = setInterval(send, Number(CHUNK_EVERY_MS));
  res.on("close", () => clearInterval(timer));
  send();
}
