import type { RequestHandler } from "express";
import { describe, expect, test } from "vitest";
import { post } from "../support/buyer.ts";
import { useStand } from "./stand.ts";

describe("app.use(paywall({ routes }))", () => {
  const stand = useStand("express");

  function openShop(): { url: string; ran: string[] } {
    const ran: string[] = [];
    const note =
      (name: string): RequestHandler =>
      (req, res) => {
        ran.push(name);
        res.json({ name, id: req.params["id"] ?? null });
      };
    const url = stand().mount((app, path) => {
      const table = stand().paywall({
        routes: {
          [`GET ${path}/report/:id`]: { price: "$0.02" },
          [`POST ${path}/report`]: {
            price: "$0.05",
            validate: (_req, body) => (body.length === 0 ? "Send a question." : undefined),
          },
          [`POST ${path}/broken`]: {
            price: "$0.02",
            validate: () => {
              throw new Error("secret");
            },
          },
        },
      });
      app.use(table as RequestHandler);
      app.get(`${path}/report/:id`, note("read"));
      app.post(`${path}/report`, note("write"));
      app.post(`${path}/broken`, note("broken"));
      app.get(`${path}/free`, note("free"));
    });
    return { url, ran };
  }

  test("sells the routes it names at their prices, and lets the others pass", async () => {
    const { url, ran } = openShop();
    const buyer = await stand().buyer();
    expect(await (await fetch(`${url}/free`)).json()).toMatchObject({ name: "free" });
    for (const [path, init, amount] of [
      ["/report/7", undefined, "20000"],
      ["/report", post({ q: 1 }), "50000"],
    ] as const) {
      const unpaid = await fetch(url + path, init);
      expect(unpaid.status).toBe(402);
      expect(await unpaid.json()).toMatchObject({ accepts: [{ maxAmountRequired: amount }] });
      expect((await buyer.fetch(url + path, init)).status).toBe(200);
    }
    expect(ran).toEqual(["free", "read", "write"]);
  });

  test("a payment for one id does not buy another", async () => {
    const { url, ran } = openShop();
    const payment = await stand().sign(`${url}/report/1`);
    const other = await fetch(`${url}/report/2`, { headers: payment });
    expect(other.status).toBe(402);
    expect(ran).toEqual([]);
    expect((await fetch(`${url}/report/1`, { headers: payment })).status).toBe(200);
  });

  test("validate refuses with 400 before anything is claimed; the payment is good for a better request", async () => {
    const { url, ran } = openShop();
    const payment = await stand().sign(`${url}/report`, { method: "POST" });
    const refused = await fetch(`${url}/report`, { method: "POST", headers: payment });
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      error: { code: "invalid_request", message: "Send a question." },
    });
    expect(stand().calls("verify", payment)).toBe(0);
    expect(stand().row(payment)).toBeUndefined();
    expect(ran).toEqual([]);
    const better = await fetch(`${url}/report`, { method: "POST", body: "why?", headers: payment });
    expect(better.status).toBe(200);
    await stand().reaches(payment, "delivered");
  });

  test("validate that throws is our failure: 500, nothing claimed, nothing told", async () => {
    const { url, ran } = openShop();
    const payment = await stand().sign(`${url}/broken`, { method: "POST" });
    const answer = await fetch(`${url}/broken`, { method: "POST", headers: payment });
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain("secret");
    expect(stand().row(payment)).toBeUndefined();
    expect(ran).toEqual([]);
  });

  test("a preflight of a sold path is answered, and one of another path is the app's", async () => {
    const { url } = openShop();
    const ask = (path: string) =>
      fetch(url + path, { method: "OPTIONS", headers: { "access-control-request-method": "POST" } });
    const sold = await ask("/report");
    expect(sold.status).toBe(204);
    expect(sold.headers.get("access-control-allow-methods")).toBe("POST, OPTIONS");
    expect((await ask("/free")).headers.get("access-control-allow-methods")).toBeNull();
  });

  test.each([
    ["a route without a path", { "POST report": { price: "$0.02" } }],
    ["a method in lower case", { "post /report": { price: "$0.02" } }],
    ["a price of nothing", { "POST /report": { price: "$0" } }],
    ["a price that is none", { "POST /report": { price: "two cents" } }],
  ])("%s is refused when the app is made", (_name, routes) => {
    expect(() => stand().paywall({ routes })).toThrow(/paywall|POST \/report/);
  });
});
