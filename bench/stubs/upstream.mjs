import { createServer } from "node:http";
import { HANDLERS } from "../servers/handlers.mjs";

createServer((req, res) => {
  const handler = HANDLERS[req.url];
  if (handler === undefined) res.writeHead(404).end();
  else handler(req, res);
}).listen(Number(process.env.PORT), "127.0.0.1");
