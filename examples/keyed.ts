/** One chat completion, paid from a prepaid key, and what the key has left. Needs the `openai` package. */
import OpenAI from "openai";

const url = required("FAREBOX_URL").replace(/\/+$/, "");
const apiKey = required("FAREBOX_API_KEY");
const model = process.env["FAREBOX_MODEL"] ?? "openai/gpt-4o-mini";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
const completion = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Say hello in five words." }],
});
console.log(completion.choices[0]?.message.content ?? "");

const response = await fetch(`${url}/v1/key`, {
  headers: { authorization: `Bearer ${apiKey}` },
  signal: AbortSignal.timeout(30_000),
});
if (!response.ok) throw new Error(`GET /v1/key answered ${response.status}: ${await response.text()}`);
const key: { limit_remaining: number | null; balance: number } = await response.json();
console.log(`remaining: $${Math.min(key.balance, key.limit_remaining ?? key.balance)}`);

/** A missing key is noticed at the start, not at the first request. */
function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") {
    throw new Error(`${name} is not set. Add it to .env, or to where this is deployed.`);
  }
  return value;
}
