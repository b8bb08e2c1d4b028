import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runPay } from "../../client/run-pay.ts";
import { built } from "../support/built.ts";
import { type Listening, listen } from "./listen.ts";
import {
  decode,
  drop,
  fail,
  RECEIPT,
  RECEIPT_HEADER,
  type Seller,
  type Step,
  serve,
  startSeller,
} from "./seller.ts";
import { type StandInRpc, startStandInRpc, USDC } from "./stand-in-rpc.ts";

let directory: string;
const open: Listening[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-pay-"));
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
  await rm(directory, { recursive: true });
});

/** Keeps what is written, and resolves `saw` once a text has arrived. */
function capture() {
  let written = "";
  const waiting: { what: string; resolve: () => void }[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written += chunk;
      for (const { what, resolve } of waiting) if (written.includes(what)) resolve();
      done();
    },
  });
  const saw = (what: string) => new Promise<void>((resolve) => void waiting.push({ what, resolve }));
  return { stream, saw, text: () => written };
}

/** A faucet that fills the stand-in chain. */
async function startFaucet(rpc: StandInRpc) {
  const asked: unknown[] = [];
  const server = createServer(async (req, res) => {
    asked.push({ path: req.url, body: JSON.parse(await text(req)) });
    rpc.balance = 5_000_000n;
    res.end("{}");
  });
  const faucet = await listen(server);
  open.push(faucet);
  return { url: `${faucet.url}/faucet`, asked };
}

async function setUp(script: readonly Step[], balance: bigint | undefined = 1_000_000n) {
  const seller = await startSeller(script);
  const rpc = await startStandInRpc(balance);
  open.push(seller, rpc);
  const faucet = await startFaucet(rpc);
  const wallet = join(directory, "wallet.json");
  const out = capture();
  const err = capture();
  const pay = (words: readonly string[], target: Seller = seller) =>
    runPay([`${target.url}/agent`, "--rpc", rpc.url, "--faucet", faucet.url, ...words], {
      env: { FAREBOX_WALLET: wallet },
      stdout: out.stream,
      stderr: err.stream,
    });
  return { seller, rpc, faucet, wallet, out, err, pay };
}

test("pays and prints the reply alone on stdout; price, payer, network and transaction on stderr", async () => {
  const { seller, out, err, pay, wallet } = await setUp([serve("the reply")]);
  expect(await pay(["-d", '{"prompt":"hi"}'])).toBe(0);
  expect(out.text()).toBe("the reply");
  expect(seller.seen.at(-1)).toMatchObject({
    method: "POST",
    contentType: "application/json",
    body: '{"prompt":"hi"}',
  });
  const payer = /made the wallet (\w{32,44}) in/.exec(err.text())?.[1];
  expect(payer).toBeDefined();
  expect(err.text()).toContain("402 Payment Required: 0.02 USD (Asks a model)");
  expect(err.text()).toContain(`paying 0.02 USDC from ${payer} to`);
  expect(err.text()).toContain("on solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp");
  expect(err.text()).toContain(`transaction ${RECEIPT.transaction}`);
  expect(err.text()).toContain("200 OK");
  expect((await stat(wallet)).mode & 0o777).toBe(0o600);
});

test("the second call uses the same wallet", async () => {
  const { seller, err, pay } = await setUp([serve("ok")]);
  await pay([]);
  await pay([]);
  expect(err.text().match(/made the wallet/g)).toHaveLength(1);
  const payers = err.text().match(/from \w+ to/g);
  expect(payers).toHaveLength(2);
  expect(new Set(payers).size).toBe(1);
  expect(seller.payments()).toHaveLength(2);
});

test("a stream is printed as it comes", async () => {
  const { out, pay } = await setUp([
    async (_req, res) => {
      res.writeHead(200, { "content-type": "text/event-stream", "payment-response": RECEIPT_HEADER });
      const seen = out.saw("data: one");
      res.write("data: one\n\n");
      await seen;
      res.end("data: two\n\n");
    },
  ]);
  expect(await pay([])).toBe(0);
  expect(out.text()).toBe("data: one\n\ndata: two\n\n");
});

test("a reply that breaks off fails, and names the transaction", async () => {
  const { out, err, pay } = await setUp([
    async (req, res) => {
      res.writeHead(200, { "payment-response": RECEIPT_HEADER });
      const seen = out.saw("half");
      res.write("half");
      await seen;
      req.socket.destroy();
    },
  ]);
  expect(await pay([])).toBe(1);
  expect(out.text()).toBe("half");
  expect(err.text()).toContain(`It was paid: transaction ${RECEIPT.transaction}`);
});

test("--json prints one object", async () => {
  const { out, pay } = await setUp([serve('{"reply":"hi"}')]);
  expect(await pay(["--json", "--quiet"])).toBe(0);
  expect(JSON.parse(out.text())).toEqual({
    status: 200,
    price: "0.02",
    asset: USDC,
    amount: "0.02",
    payer: RECEIPT.payer,
    transaction: RECEIPT.transaction,
    body: { reply: "hi" },
  });
});

test("--quiet leaves stderr empty", async () => {
  const { err, pay } = await setUp([serve("ok")]);
  await pay(["--quiet"]);
  expect(err.text()).toBe("");
});

test("too dear is exit 3, before anything is signed", async () => {
  const { seller, rpc, faucet, err, pay } = await setUp([serve("ok")]);
  expect(await pay(["--max", "0.019999"])).toBe(3);
  expect(err.text()).toContain("costs 0.02 USD, above the limit of 0.019999 USD");
  expect([seller.payments(), rpc.asked, faucet.asked]).toEqual([[], [], []]);
});

test("a failed call is exit 1, its reply still printed", async () => {
  const { out, err, pay } = await setUp([fail(404, "model_not_found")]);
  expect(await pay([])).toBe(1);
  expect(out.text()).toContain("model_not_found");
  expect(err.text()).toContain(
    "404 Not Found\nno receipt came with it: by this answer, the payment was not taken\n",
  );
});

test.each<[what: string, ...script: Step[]]>([
  ["a failure of the server", fail(500, "internal_error")],
  ["another server's 402", fail(402, "settlement_failed")],
  ["a refusal of what was sent before", fail(503, "settlement_unknown", "0"), fail(429, "too_many_requests")],
  ["a refusal after a lost answer", drop, fail(404, "not_found")],
])("%s may come after the payment: nothing is said about it", async (_what, ...script) => {
  const { seller, err, pay } = await setUp(script);
  expect(await pay([])).toBe(1);
  expect(seller.payments()).toHaveLength(script.length);
  expect(err.text()).not.toContain("not taken");
});

test("a payment that is refused for good was not taken, whatever was answered before", async () => {
  const script = [fail(503, "settlement_unknown", "0"), fail(402, "payment_refused")];
  const { out, err, pay } = await setUp(script);
  expect(await pay([])).toBe(1);
  expect(out.text()).toContain("payment_refused");
  expect(err.text()).toContain("the payment was not taken");
});

test("an empty wallet is filled by the local faucet, a full one is not", async () => {
  const { faucet, rpc, err, pay } = await setUp([serve("ok")], undefined);
  rpc.balance = undefined;
  expect(await pay([])).toBe(0);
  expect(faucet.asked).toEqual([{ path: "/faucet", body: { address: expect.any(String), usdc: "5.00" } }]);
  expect(err.text()).toContain("balance 0.00 USDC; the local faucet gave 5.00 (play money)");
  expect(await pay([])).toBe(0);
  expect(faucet.asked).toHaveLength(1);
});

test("an empty wallet and a dead faucet: nothing is signed", async () => {
  const { seller, pay, err } = await setUp([serve("ok")], 19_999n);
  const gone = await startStandInRpc();
  await gone.close();
  expect(await pay(["--faucet", `${gone.url}/faucet`])).toBe(1);
  expect(err.text()).toContain("faucet");
  expect(seller.payments()).toEqual([]);
});

test("too little money, even after the faucet, is exit 3", async () => {
  const { seller, rpc, pay, err } = await setUp([serve("ok")], 19_999n);
  Object.defineProperty(rpc, "balance", { get: () => 19_999n, set: () => {} });
  expect(await pay([])).toBe(3);
  expect(err.text()).toContain("holds 0.019999 USDC and the call costs 0.02");
  expect(seller.payments()).toEqual([]);
});

test.each([
  [["--max", "lots"], "--max"],
  [["-X", "GET", "-d", "x"], "GET cannot carry a body"],
  [["--rcp", "x"], "--rcp"],
  [["-H", "no colon"], "-H needs"],
  [["-d", "@/no/such/file"], "cannot be read"],
  [["http://127.0.0.1/second"], "one URL at a time"],
])("%j is a usage error: exit 2, nothing asked", async (words, message) => {
  const { seller, err, pay } = await setUp([serve("ok")]);
  expect(await pay(words)).toBe(2);
  expect(err.text()).toContain(message);
  expect(seller.seen).toEqual([]);
});

test.each([["ftp://127.0.0.1/"], ["agent"], ["http://user:pass@127.0.0.1/"]])(
  "%s is not a URL to pay",
  async (url) => {
    const err = capture();
    const out = capture();
    expect(await runPay([url], { env: {}, stdout: out.stream, stderr: err.stream })).toBe(2);
    expect(err.text()).toContain("pay: the URL must");
  },
);

test("method, headers and a body from a file are sent as given", async () => {
  const { seller, pay } = await setUp([serve("ok")]);
  const file = join(directory, "body.txt");
  await writeFile(file, "plain words");
  expect(await pay(["-X", "put", "-H", "Content-Type: text/plain", "-d", `@${file}`])).toBe(0);
  expect(seller.seen).toEqual([
    { method: "PUT", payment: undefined, contentType: "text/plain", body: "plain words" },
    { method: "PUT", payment: seller.payments()[0], contentType: "text/plain", body: "plain words" },
  ]);
});

test("as a command: the reply on stdout, the payment signed by the keypair file", async () => {
  const { seller, rpc, wallet } = await setUp([serve("from a process\n")]);
  const words = [built("client/pay.js"), `${seller.url}/agent`, "--rpc", rpc.url];
  const child = spawn(process.execPath, words, { env: { ...process.env, FAREBOX_WALLET: wallet } });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  expect([out, code]).toEqual(["from a process\n", 0]);
  expect(err).toContain(`transaction ${RECEIPT.transaction}`);
  const transaction = Buffer.from(String(decode(seller.payments()[0]).payload["transaction"]), "base64");
  const publicKey = Buffer.from(JSON.parse(await readFile(wallet, "utf8"))).subarray(32);
  expect(transaction.includes(publicKey)).toBe(true);
});
