import { decodePaymentRequiredHeader } from "@x402/core/http";
import express, { type RequestHandler, Router } from "express";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createForger, type Forger, v2 } from "./forger.ts";
import { rawRequest, requestBytes } from "./raw-request.ts";
import { openStall, PUBLIC_URL, type Stall } from "./stall.ts";

let stall: Stall;
let forger: Forger;

beforeAll(async () => {
  stall = await openStall("/table/1", (paywall, ran) => {
    const app = express();
    const handler: RequestHandler = (req, res) => {
      ran.push(`${req.method} ${req.originalUrl}`);
      res.json({ sold: true });
    };
    const table = { "GET /table/:id": { price: "$0.01" }, "* /any/:id": { price: "$0.01" } };
    app.use(paywall({ routes: table }) as RequestHandler);
    app.get("/table/:id", handler);
    app.all("/any/:id", handler);
    app.all("/one", paywall({ price: "$0.01" }) as RequestHandler, handler);
    const tenant = Router();
    tenant.get("/report", paywall({ price: "$0.01" }) as RequestHandler, handler);
    app.use("/t/:tenant", tenant);
    return app;
  });
  forger = await createForger(stall.rpc.url);
});

afterAll(() => stall.close());

beforeEach(() => {
  stall.ran.length = 0;
});

describe("every method sold at once", () => {
  test.each(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "PURGE", "TRACE"])(
    "%s is 402, in the table and by the route",
    async (method) => {
      for (const target of ["/any/1", "/one"]) {
        expect((await rawRequest(stall.port, requestBytes(method, target))).statuses).toEqual([402]);
      }
      expect(stall.ran).toEqual([]);
    },
  );

  test.each(["/any/1", "/one"])("a browser's preflight of %s is answered, and runs nothing", async (path) => {
    const headers = { "access-control-request-method": "PUT" };
    const response = await fetch(stall.url + path, { method: "OPTIONS", headers });
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-methods")).toContain("PUT");
    expect(stall.ran).toEqual([]);
  });

  test.each(["/any/1", "/one"])("a payment for GET %s is no good for POST", async (path) => {
    const url = stall.url + path;
    const headers = v2(await forger.sign(await forger.challenge(url)));
    expect((await fetch(url, { method: "POST", headers })).status).toBe(402);
    expect(stall.ran).toEqual([]);
    expect((await fetch(url, { headers })).status).toBe(200);
    expect(stall.ran).toEqual([`GET ${path}`]);
  });
});

test("a preflight of a table's route names what is sold there", async () => {
  const headers = { "access-control-request-method": "GET" };
  const response = await fetch(`${stall.url}/table/1`, { method: "OPTIONS", headers });
  expect(response.status).toBe(204);
  expect(response.headers.get("access-control-allow-methods")).toBe("GET, OPTIONS");
});

test("a target that two routers could read in two ways is 400, whatever it is", async () => {
  for (const target of ["/table/1#x", "http://shop.example", '/t/"/x/report#']) {
    const { statuses, text } = await rawRequest(stall.port, requestBytes("GET", target));
    expect([target, statuses]).toEqual([target, [400]]);
    expect(text).toContain('"code":"invalid_request"');
  }
  expect(stall.ran).toEqual([]);
});

test("behind a mount path with parameters, thousands of made-up paths do not make the challenge grow", async () => {
  const tenants = Array.from({ length: 300 }, (_, index) => `tenant-${index}`);
  for (const tenant of [...tenants, "x".repeat(5_000)]) {
    const response = await fetch(`${stall.url}/t/${tenant}/report`);
    expect(response.status).toBe(402);
    const header = response.headers.get("payment-required") ?? "";
    expect(header.length).toBeLessThan(4_000);
    const { resource } = decodePaymentRequiredHeader(header);
    expect(resource?.url).toBe(`${PUBLIC_URL}${tenant.length > 100 ? "" : `/t/${tenant}`}/report`);
    await response.arrayBuffer();
  }
  expect(stall.ran).toEqual([]);
});
