import express from "express";
import { challenge } from "./challenge.mjs";

const { status, headers, body } = challenge();
const app = express();
const send = (_req, res) => {
  res.writeHead(status, headers);
  res.end(body);
};
if (process.env.FORM === "route") app.get("/report", send);
else app.use(send);
app.listen(Number(process.env.PORT), "127.0.0.1");
