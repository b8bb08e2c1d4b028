/**
 * Checks a receipt that a service gave: `FAREBOX_URL=https://api.example.com tsx receipt.ts <receipt>`
 * Needs `jose`.
 */
import { compactVerify, createRemoteJWKSet } from "jose";

// The service that you paid, by what you know of it: a receipt could name any.
const service = (process.env["FAREBOX_URL"] ?? "http://127.0.0.1:4020").replace(/\/+$/, "");
const [receipt] = process.argv.slice(2);
if (receipt === undefined) throw new Error("Give the receipt as argument.");

const keys = createRemoteJWKSet(new URL(`${service}/.well-known/jwks.json`));
const { payload } = await compactVerify(receipt, keys, { algorithms: ["EdDSA"] });
const said = JSON.parse(new TextDecoder().decode(payload));

if (said.version !== 1) throw new Error(`This is a receipt of version ${said.version}.`);
const { origin } = new URL(service);
if (new URL(said.resourceUrl).origin !== origin)
  throw new Error(`This is a receipt for ${said.resourceUrl}.`);
console.log(`${said.payer} paid for ${said.resourceUrl} at ${new Date(said.issuedAt * 1_000).toISOString()}`);
