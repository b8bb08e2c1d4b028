/**
 * From a wallet to a metered key, without a person: pays once for a key, makes a call with it, and tops it up.
 * Needs `@x402/fetch`, `@x402/svm`, `@solana/kit` and `openai`.
 */
import { open, readFile, rm } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { createKeyPairSignerFromBytes } from "@solana/kit";
import { x402Client, x402HTTPClient } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import OpenAI from "openai";

const url = required("FAREBOX_URL").replace(/\/+$/, "");
const rpcUrl = required("SOLANA_RPC_URL");
const keypair: number[] = JSON.parse(await readFile(required("SOLANA_KEYPAIR"), "utf8"));
const keyFile = process.env["FAREBOX_KEY_FILE"] ?? ".farebox-key";
const model = process.env["FAREBOX_MODEL"] ?? "openai/gpt-4o-mini";

const signer = await createKeyPairSignerFromBytes(Uint8Array.from(keypair));
const wallet = new x402HTTPClient(
  new x402Client().register("solana:*", new ExactSvmScheme(signer, { rpcUrl })),
);

// The place for the secret first: it is shown once. An existing file is not overwritten.
const file = await open(keyFile, "wx", 0o600);
const bought = await buyKey().catch(async (error: unknown) => {
  // Nothing is in it yet, and the next try needs the place.
  await rm(keyFile);
  throw error;
});
await file.writeFile(bought.key);
await file.close();
console.log(`${bought.id} spends ${bought.account}, which has $${bought.balance}`);

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: bought.key });
const completion = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Say hello in five words." }],
});
console.log(completion.choices[0]?.message.content ?? "");

const toppedUp = await pay("/topup", { amount: "1.00" }, bought.key);
console.log(`topped up by $${toppedUp.amount}: $${toppedUp.balance}`);

interface Paid {
  readonly account: string;
  readonly amount: string;
  readonly balance: string;
  readonly id?: string;
  readonly key?: string;
}

async function buyKey(): Promise<Paid & { readonly key: string }> {
  const wanted = { amount: "1.00", label: "my agent", limit: "0.50", limit_reset: "daily" };
  const { key, ...bought } = await pay("/keys", wanted);
  if (key === undefined) throw new Error(`The secret of ${bought.id} was shown before.`);
  return { ...bought, key };
}

/** Signs one payment and sends that same one until it is answered: however often it arrives, it is credited once. */
async function pay(path: string, body: Readonly<Record<string, string>>, key?: string): Promise<Paid> {
  const headers = {
    "Content-Type": "application/json",
    ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }),
  };
  const send = (more: Readonly<Record<string, string>>): Promise<Response> =>
    fetch(url + path, {
      method: "POST",
      headers: { ...headers, ...more },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    });
  const asked = await send({});
  const text = await asked.text();
  if (asked.status !== 402) throw new Error(`POST ${path} answered ${asked.status}: ${text}`);
  const terms = wallet.getPaymentRequiredResponse((name) => asked.headers.get(name), JSON.parse(text));
  const payment = wallet.encodePaymentSignatureHeader(await wallet.createPaymentPayload(terms));
  for (let attempt = 0; attempt < 30; attempt += 1) {
    const response = await send(payment).catch(() => undefined);
    if (response?.ok === true) return response.json();
    // 409 and 503 mean: the same payment again. So does no answer at all.
    if (response !== undefined && response.status !== 409 && response.status !== 503) {
      throw new Error(`POST ${path} answered ${response.status}: ${await response.text()}`);
    }
    await setTimeout(Number(response?.headers.get("retry-after") ?? 2) * 1_000);
  }
  throw new Error(`POST ${path}: no answer. Ask the operator about payments of ${signer.address}.`);
}

/** What is missing is noticed at the start, not after something was paid. */
function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set.`);
  return value;
}
