import { expect, test } from "vitest";
import { createAdminServer } from "../../server/admin/admin-server.ts";
import { createMetrics } from "../../server/metrics.ts";

test("what happened is in the text, by its labels", async () => {
  const metrics = createMetrics();
  metrics.request("POST", "/agent", "x402", 200, 0.02);
  metrics.request("POST", "/agent", "x402", 200, 0.7);
  expect(await metrics.text()).toContain('{route="POST /agent",tier="x402",status="200"} 2');
  metrics.request("POST", "/agent", "none", 402, 0.0001);
  metrics.request("GET", "/report/:id", "x402", 200, 400);
  metrics.payment("settled");
  metrics.payment("settled");
  metrics.settled(0.3);
  metrics.facilitator("verify", "ok");
  metrics.facilitator("settle", "unknown");
  metrics.breaker("https://f.example.com", "open");
  metrics.breaker("https://f.example.com", "closed");
  metrics.undecided(3);
  metrics.undecided(2);
  metrics.owed(20_000n);
  metrics.owed(5n);
  metrics.heldBack();
  metrics.node(2, "failing");
  metrics.node(2, "lagging");
  const lines = (await metrics.text()).split("\n");
  expect(lines).toEqual(
    expect.arrayContaining([
      'farebox_requests_total{route="POST /agent",tier="x402",status="200"} 2',
      'farebox_requests_total{route="POST /agent",tier="none",status="402"} 1',
      'farebox_requests_total{route="GET /report/:id",tier="x402",status="200"} 1',
      'farebox_request_seconds_count{route="POST /agent"} 3',
      'farebox_request_seconds_bucket{le="0.001",route="POST /agent"} 1',
      'farebox_request_seconds_bucket{le="0.025",route="POST /agent"} 2',
      'farebox_request_seconds_bucket{le="300",route="GET /report/:id"} 0',
      'farebox_payments_total{state="settled"} 2',
      "farebox_settle_seconds_sum 0.3",
      'farebox_facilitator_total{op="verify",outcome="ok"} 1',
      'farebox_facilitator_total{op="settle",outcome="unknown"} 1',
      'farebox_facilitator_breaker{facilitator="https://f.example.com",state="open"} 0',
      'farebox_facilitator_breaker{facilitator="https://f.example.com",state="closed"} 1',
      "farebox_held_back_total 1",
      "farebox_undecided_payments 2",
      "farebox_owed_micro_usd_total 20005",
      'farebox_rpc_node{node="2",state="lagging"} 1',
      'farebox_rpc_node{node="2",state="failing"} 0',
    ]),
  );
  expect(lines.some((line) => line.startsWith("nodejs_eventloop_lag_p99_seconds "))).toBe(true);
  expect(lines.some((line) => line.startsWith("process_resident_memory_bytes "))).toBe(true);
});

test("two gateways in one process do not add up", async () => {
  const [one, other] = [createMetrics(), createMetrics()];
  one.payment("settled");
  expect(await other.text()).not.toContain('farebox_payments_total{state="settled"}');
});

test("the admin port serves the metrics and nothing else", async () => {
  const metrics = createMetrics();
  metrics.payment("open");
  const admin = await createAdminServer({ metrics, host: "127.0.0.1", port: 0 });
  const base = `http://127.0.0.1:${admin.port}`;
  try {
    const found = await fetch(`${base}/metrics`);
    expect(found.status).toBe(200);
    expect(found.headers.get("content-type")).toBe(metrics.contentType);
    expect(await found.text()).toContain('farebox_payments_total{state="open"} 1');
    for (const [path, method] of [
      ["/", "GET"],
      ["/metrics", "POST"],
      ["/metrics/x", "GET"],
      ["/agent", "POST"],
      ["/admin/accounts", "GET"],
      ["/admin", "POST"],
    ] as const) {
      const response = await fetch(base + path, { method });
      expect([path, method, response.status]).toEqual([path, method, 404]);
      await response.arrayBuffer();
    }
    await expect(createAdminServer({ metrics, host: "127.0.0.1", port: admin.port })).rejects.toThrow(
      "EADDRINUSE",
    );
  } finally {
    await admin.close();
  }
  await expect(fetch(`${base}/metrics`)).rejects.toThrow();
});
