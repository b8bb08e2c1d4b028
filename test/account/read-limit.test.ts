import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type NextFunction, type Request, type Response } from "express";
import { afterEach, expect, test } from "vitest";
import { createReadLimit, type ReadLimitParts } from "../../server/account/read-limit.ts";
import { GatewayError } from "../../server/errors.ts";
import { newWallet, openAccountWorld, refusal } from "./account-world.ts";

let server: Server | undefined;
afterEach(() => server?.close());

async function open(limits: NonNullable<ReadLimitParts["limits"]>) {
  const { asks, searches, changes } = createReadLimit({
    wallet: (req) => String(req.headers["x-wallet"]),
    clientAddress: (req) => String(req.headers["x-from"] ?? "192.0.2.1"),
    limits,
  });
  const app = express();
  app.get("/rpc", asks, (_req, res) => void res.end("told"));
  app.get("/search", searches, (_req, res) => void res.end("found"));
  app.all("/change", changes, (_req, res) => void res.end("changed"));
  app.use((error: unknown, _req: Request, res: Response, _next: NextFunction) => {
    if (!(error instanceof GatewayError)) throw error;
    res.status(error.status).set(error.headers).end(error.code);
  });
  server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return (path: string, wallet: string, from = "192.0.2.1", method = "GET") =>
    fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { "x-wallet": wallet, "x-from": from } });
}

test("a wallet changes something so often a minute, and a network with all of its wallets; reading counts for nothing", async () => {
  const ask = await open({ perWallet: 2, perNetwork: 4 });
  const change = async (wallet: string, method: string) =>
    (await ask("/change", wallet, "192.0.2.1", method)).status;
  expect([await change("a", "POST"), await change("a", "DELETE"), await change("a", "PATCH")]).toEqual([
    200, 200, 429,
  ]);
  for (const method of ["GET", "GET", "HEAD"]) expect(await change("a", method)).toBe(200);
  expect([await change("b", "PUT"), await change("c", "PUT")]).toEqual([200, 429]);
});

test("a wallet searches so often a minute, and a network with all of its wallets; a /64 is one network", async () => {
  const ask = await open({ perWallet: 1, perNetwork: 3 });
  expect((await ask("/search", "a")).status).toBe(200);
  const again = await ask("/search", "a");
  expect([again.status, await again.text()]).toEqual([429, "rate_limit_exceeded"]);
  expect(Number(again.headers.get("retry-after"))).toBeGreaterThan(0);
  const statuses: number[] = [];
  for (const from of ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8:0:1::1"]) {
    statuses.push((await ask("/rpc", "x", from)).status);
  }
  expect(statuses).toEqual([200, 200, 200, 429, 200]);
});

test("the account API limits what looks through records", async () => {
  const world = await openAccountWorld();
  const browser = await world.gate.signIn(await newWallet());
  try {
    for (let count = 0; count < 60; count += 1) {
      expect((await browser.call("GET", "/account/spend")).status).toBe(200);
    }
    for (const path of ["/account/spend", "/account/usage", "/account/journal", "/account/topups"]) {
      expect(refusal(await browser.call("GET", path)).slice(0, 2)).toEqual([429, "rate_limit_exceeded"]);
    }
    expect((await browser.call("GET", "/account/keys")).status).toBe(200);
  } finally {
    await world.close();
  }
});

test("the account API limits what leaves something in the ledger", async () => {
  const world = await openAccountWorld();
  const browser = await world.gate.signIn(await newWallet());
  try {
    const { json } = await browser.call("POST", "/account/keys", { body: { label: "one" } });
    const rotate = () =>
      browser.call("POST", `/account/keys/${json["id"]}/rotate`, { body: { grace: "now" } });
    for (let count = 1; count < 60; count += 1) expect((await rotate()).status).toBe(201);
    expect(refusal(await rotate()).slice(0, 2)).toEqual([429, "rate_limit_exceeded"]);
    for (const [method, path] of [
      ["PUT", "/account/provider-keys/default"],
      ["PUT", "/account/alerts"],
      ["DELETE", `/account/keys/${json["id"]}`],
    ] as const) {
      expect(refusal(await browser.call(method, path, { body: {} })).slice(0, 2)).toEqual([
        429,
        "rate_limit_exceeded",
      ]);
    }
    expect((await browser.call("GET", "/account/keys")).status).toBe(200);
  } finally {
    await world.close();
  }
});
