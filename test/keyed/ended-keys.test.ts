import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mintKey } from "../../server/ledger/keys.ts";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** A key that opens nothing any more hears so at every request, also at one that could not be served anyway. */
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openKeyedShop({
    yaml: "limits: { badCredentialsPerMinute: 1000, body: 4KiB }\nkeys: { prefixes: [sr_] }\n",
  });
});
afterAll(() => shop.close());

async function keyOf(state: string): Promise<string> {
  const { secret, keyId } = await shop.customer(1_000_000n);
  const { ledger } = shop.gateway;
  if (state === "revoked") await ledger.revokeKey(keyId);
  if (state === "expired") await ledger.changeKey(keyId, { expiresAt: 1 });
  return state === "unknown" ? mintKey("sr_").secret : secret;
}

const REQUESTS = [
  ["a good request", chat("Hi"), {}, 200],
  ["no JSON", "{", {}, 400],
  ["a missing field", '{"model":"gpt-test"}', {}, 400],
  ["a model that is not there", chat("Hi", { model: "nope" }), {}, 404],
  ["a body that is too large", chat("Hi ".repeat(4_096)), {}, 413],
  ["a bad Idempotency-Key", chat("Hi"), { "idempotency-key": "a b" }, 400],
] as const;

describe.each([
  ["unknown", "Invalid API key provided"],
  ["revoked", "Invalid API key provided: it has been revoked."],
  ["expired", "Invalid API key provided: it has expired."],
])("a key that is %s", (state, message) => {
  test.each(REQUESTS)("%s: 401", async (_, body, more) => {
    const headers = { authorization: `Bearer ${await keyOf(state)}`, "content-type": "application/json" };
    const answer = await fetch(`${shop.url}/v1/chat/completions`, {
      method: "POST",
      headers: { ...headers, ...more },
      body,
    });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toBe('Bearer error="invalid_token"');
    expect(await answer.json()).toMatchObject({ error: { code: "invalid_api_key", message } });
  });

  test("asking for its own state: 401, in the same words", async () => {
    const headers = { authorization: `Bearer ${await keyOf(state)}` };
    const answer = await fetch(`${shop.url}/v1/key`, { headers });
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ error: { code: "invalid_api_key", message } });
  });
});

test.each(REQUESTS)("a key that is good hears what is wrong with %s", async (_, body, more, status) => {
  const { headers } = await shop.customer(1_000_000n);
  const answer = await fetch(`${shop.url}/v1/chat/completions`, {
    method: "POST",
    headers: { ...headers, ...more },
    body,
  });
  expect(answer.status).toBe(status);
});

test("such requests count as bad credentials", async () => {
  const strict = await openKeyedShop({ yaml: "limits: { badCredentialsPerMinute: 2 }\n" });
  try {
    const statuses: number[] = [];
    for (let index = 0; index < 4; index += 1) {
      const { secret } = mintKey("sk_farebox_");
      const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
      const init = { method: "POST", headers, body: "{" };
      statuses.push((await fetch(`${strict.url}/v1/chat/completions`, init)).status);
    }
    expect(statuses).toEqual([401, 401, 429, 429]);
  } finally {
    await strict.close();
  }
});
