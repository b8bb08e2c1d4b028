import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { generateSigningKey, issueToken, readSigningKey } from "../../server/auth/issue-token.ts";
import { mintKey } from "../../server/ledger/keys.ts";
import { chat, type KeyedShop, openKeyedShop } from "./keyed-shop.ts";

/** A kind of bad credential that nobody counts can be tried without end. Each case comes from an address of its own. */
const LIMIT = 2;

let cases = 0;
let directory: string;
let shop: KeyedShop;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "farebox-counted-"));
  await generateSigningKey(join(directory, "ours.json"), join(directory, "jwks.json"));
  await generateSigningKey(join(directory, "strange.json"), join(directory, "strange-jwks.json"));
  shop = await openKeyedShop({
    yaml: `
jwt: { jwksFile: ${join(directory, "jwks.json")}, issuer: https://id.example, audience: farebox }
limits: { badCredentialsPerMinute: ${LIMIT}, trustedProxies: [127.0.0.1] }
`,
  });
});
afterAll(async () => {
  await shop.close();
  await rm(directory, { recursive: true, force: true });
});

async function token(signer: string, account: string): Promise<string> {
  return issueToken({
    signingKey: await readSigningKey(join(directory, signer)),
    issuer: "https://id.example",
    audience: "farebox",
    typ: "farebox+jwt",
    accountClaim: "account",
    account,
    ttlSeconds: 300,
    now: Date.now(),
  });
}

function withoutChecksum(secret: string): string {
  return `${secret.slice(0, -1)}${secret.endsWith("0") ? "1" : "0"}`;
}

async function ask(from: string, authorization: string | undefined, path = "/v1/chat/completions") {
  const answer = await fetch(`${shop.url}${path}`, {
    ...(path.endsWith("/key") ? {} : { method: "POST", body: chat("Hi") }),
    headers: {
      "content-type": "application/json",
      "x-forwarded-for": from,
      ...(authorization === undefined ? {} : { authorization }),
    },
  });
  await answer.text();
  return answer.status;
}

test.each<[string, () => Promise<string | undefined> | string | undefined, string?]>([
  ["a key that nobody has", () => `Bearer ${mintKey("sk_farebox_").secret}`],
  ["a key that nobody has, asked about", () => `Bearer ${mintKey("sk_farebox_").secret}`, "/v1/key"],
  ["a wrong checksum", () => `Bearer ${withoutChecksum(mintKey("sk_farebox_").secret)}`],
  ["a foreign prefix", () => "Bearer sk-ant-0123456789"],
  ["no token", () => "Bearer "],
  ["a token of another's making", async () => `Bearer ${await token("strange.json", "acct_1")}`],
  ["a token for nobody's account", async () => `Bearer ${await token("ours.json", "acct_nobody")}`],
  ["nothing, where a key is asked about", () => undefined, "/v1/key"],
])("counted: %s", async (name, make, path) => {
  cases += 1;
  const from = `192.0.2.${cases}`;
  const statuses: number[] = [];
  for (let sent = 0; sent <= LIMIT; sent += 1) statuses.push(await ask(from, await make(), path));
  // A token that was accepted, though not its account, opens its address to tokens; keys from there are not heard.
  if (name.includes("nobody's account")) statuses[LIMIT] = await ask(from, "Bearer sk_farebox_x");
  expect(statuses).toEqual([401, 401, 429]);
});
