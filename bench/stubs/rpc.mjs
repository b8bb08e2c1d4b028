import { createServer } from "node:http";
import { text } from "node:stream/consumers";

const { PORT, ASSET, BLOCKHASH } = process.env;
const TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
const DECIMALS_OFFSET = 44;

const started = Date.now();
/** Grows as a chain does, a block in 400 ms. */
const height = () => 1_000 + Math.floor((Date.now() - started) / 400);
const account = (data) => ({
  data: [data.toString("base64"), "base64"],
  executable: false,
  lamports: 2_039_280,
  owner: TOKEN_PROGRAM,
  rentEpoch: 0,
  space: data.length,
});
const mint = Buffer.alloc(82);
mint.writeUInt8(6, DECIMALS_OFFSET);
mint.writeUInt8(1, DECIMALS_OFFSET + 1);
const token = Buffer.alloc(165);
token.writeUInt8(1, 108);

const METHODS = {
  getHealth: () => "ok",
  getSlot: height,
  getBlockHeight: height,
  getLatestBlockhash: () => inContext({ blockhash: BLOCKHASH, lastValidBlockHeight: height() + 150 }),
  getAccountInfo: ([address]) => inContext(account(address === ASSET ? mint : token)),
};

function inContext(value) {
  return { context: { slot: height() }, value };
}

function handle({ id, method, params }) {
  const run = METHODS[method];
  if (run === undefined) return { jsonrpc: "2.0", id, error: { code: -32601, message: "method not found" } };
  return { jsonrpc: "2.0", id, result: run(params ?? []) };
}

createServer(async (req, res) => {
  if (req.method !== "POST") {
    res.end("ok");
    return;
  }
  const call = JSON.parse(await text(req));
  res.setHeader("content-type", "application/json");
  res.end(JSON.stringify(Array.isArray(call) ? call.map(handle) : handle(call)));
}).listen(Number(PORT), "127.0.0.1");
