import { createServer } from "node:http";
import { challenge } from "./challenge.mjs";

const { status, headers, body } = challenge();
createServer((_req, res) => {
  res.writeHead(status, headers);
  res.end(body);
}).listen(Number(process.env.PORT), "127.0.0.1");
