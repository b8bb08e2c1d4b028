import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { runPay } from "../../client/run-pay.ts";
import { startLocalnet } from "../../localnet/index.ts";
import { DECLARATION, decode, OPTION, startSeller } from "./seller.ts";

test("a new wallet, the faucet and a transfer that the official facilitator settles on the chain", async () => {
  const localnet = await startLocalnet({ rpcPort: 0, facilitatorPort: 0 });
  const terms = {
    ...OPTION,
    payTo: localnet.merchant,
    extra: { feePayer: localnet.feePayer, memo: "a-memo" },
  };
  const seller = await startSeller(
    [
      async (req, res) => {
        const paymentPayload = decode(req.headers["payment-signature"]?.toString());
        const settlement = await fetch(`${localnet.facilitatorUrl}/settle`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ x402Version: 2, paymentPayload, paymentRequirements: terms }),
        });
        const receipt = Buffer.from(await settlement.text()).toString("base64");
        res.writeHead(200, { "payment-response": receipt }).end('"paid"');
      },
    ],
    { ...DECLARATION, accepts: [terms] },
  );
  const directory = await mkdtemp(join(tmpdir(), "farebox-localnet-"));
  try {
    const { stream, written } = collector();
    const faucet = `${localnet.facilitatorUrl}/faucet`;
    const code = await runPay([seller.url, "--json", "--rpc", localnet.rpcUrl, "--faucet", faucet], {
      env: { FAREBOX_WALLET: join(directory, "wallet.json") },
      stdout: stream,
      stderr: new Writable({ write: (_chunk, _encoding, done) => done() }),
    });
    stream.end();
    const report = JSON.parse(await written);
    expect([code, report]).toMatchObject([0, { status: 200, price: "0.02", body: "paid" }]);
    expect(localnet.tokenBalance(localnet.merchant)).toBe(20_000n);
    expect(localnet.tokenBalance(report.payer)).toBe(4_980_000n);
    expect(localnet.transfersTo(localnet.merchant)).toMatchObject([{ amount: 20_000n }]);
    expect(report.transaction).toMatch(/^[1-9A-HJ-NP-Za-km-z]{86,88}$/);
  } finally {
    await Promise.all([seller.close(), localnet.close(), rm(directory, { recursive: true })]);
  }
});

function collector() {
  const chunks = new TransformStream<Uint8Array, Uint8Array>();
  const stream = Writable.fromWeb(chunks.writable);
  return { stream, written: text(chunks.readable) };
}
