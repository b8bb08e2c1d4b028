import { createServer } from "node:http";
import { setTimeout as wait } from "node:timers/promises";

const { PORT, NETWORK_ID, FEE_PAYER, SETTLE_MS = "0", REFUSE } = process.env;
const SIGNATURE_HEAD = "5h".padEnd(78, "T");
let settled = 0;
let asked = 0;

const extra = { feePayer: FEE_PAYER };
const SUPPORTED = JSON.stringify({
  kinds: [
    { x402Version: 2, scheme: "exact", network: NETWORK_ID, extra },
    { x402Version: 1, scheme: "exact", network: "solana", extra },
  ],
  extensions: [],
  signers: { "solana:*": [FEE_PAYER] },
});

/** Says yes to everything, or no for the reason REFUSE; a settlement takes SETTLE_MS. `/asked` counts. */
async function answer(path) {
  if (path === "/supported") return SUPPORTED;
  if (path === "/asked") return String(asked);
  asked += 1;
  if (REFUSE !== undefined) return JSON.stringify({ isValid: false, invalidReason: REFUSE });
  if (path === "/verify") return '{"isValid":true}';
  if (Number(SETTLE_MS) > 0) await wait(Number(SETTLE_MS));
  settled += 1;
  const transaction = SIGNATURE_HEAD + String(settled).padStart(10, "1").replaceAll("0", "A");
  return JSON.stringify({ success: true, transaction, network: NETWORK_ID });
}

createServer((req, res) => {
  req.resume();
  req.on("end", async () => {
    const body = await answer(req.url);
    res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    res.end(body);
  });
}).listen(Number(PORT), "127.0.0.1");
