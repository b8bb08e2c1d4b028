import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../server/log.ts";
import { type RunningGateway, startGateway } from "../../server/start.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { type Auditor, createAuditor, openForBusiness, type Sale } from "./audit.ts";
import { startChild } from "./child-gateway.ts";
import { writtenState } from "./dead-gateway.ts";
import { request } from "./kill-points.ts";

const HOOK = fileURLToPath(new URL("../support/die-at.mjs", import.meta.url));

let shop: Shop;
let auditor: Auditor;
let gateway: RunningGateway | undefined;

beforeAll(async () => {
  shop = await openShop({ noGateway: true });
  auditor = createAuditor(shop, () => {
    if (gateway === undefined) throw new Error("The gateway is not running.");
    return gateway.ledger;
  });
});
afterAll(async () => {
  await shop.close();
});

/** The answer is out, and its process kills itself before it has written that. */
async function dieBehind(
  body: Readonly<Record<string, unknown>>,
): Promise<{ readonly sale: Sale; readonly text: string }> {
  const env = { NODE_OPTIONS: `--import=${HOOK}`, DIE_AT: "before deliver" };
  const child = await startChild(shop, "", env);
  const sale = await auditor.sell({ body });
  const stream = body["stream"] === true ? shop.upstream.stream() : undefined;
  const sent = request(sale);
  await stream?.delta("One ");
  const response = await sent;
  await stream?.finish();
  const text = await response.text();
  expect(response.status).toBe(200);
  await child.gone;
  expect(writtenState(shop, sale.id)).toBe("settled");
  return { sale, text };
}

async function restarted(use: () => Promise<void>): Promise<void> {
  gateway = await startGateway({
    config: shop.config,
    log: createLogger({ level: "silent" }),
    onFatal: (error) => {
      throw error;
    },
  });
  try {
    await openForBusiness(shop.url);
    await use();
  } finally {
    await gateway.close();
    gateway = undefined;
  }
}

test("killed behind a whole answer: the retry gets this very answer, and the model is not asked again", async () => {
  const { sale, text } = await dieBehind({});
  const asked = shop.upstream.calls.length;
  await restarted(async () => {
    for (let times = 0; times < 2; times += 1) {
      expect(await sale.send()).toMatchObject({ status: 200, text, settles: 0 });
    }
    expect(shop.upstream.calls.length).toBe(asked);
    expect(await auditor.record(sale)).toMatchObject({ state: "delivered", servings: 1 });
    const usage = await gateway?.ledger.usage({ account: sale.account, limit: 10 });
    const { amount, transaction } = (await auditor.record(sale)) ?? {};
    expect(usage).toMatchObject([{ charged: amount, transaction, notCharged: undefined }]);
    await auditor.audit();
  });
});

test("killed behind a stream: it was not whole when it was paid for, so the retry is served anew, on the same settlement", async () => {
  const { sale, text } = await dieBehind({ stream: true });
  expect(text).toContain("[DONE]");
  const asked = shop.upstream.calls.length;
  await restarted(async () => {
    const again = await sale.send();
    expect(again).toMatchObject({ status: 200, settles: 0 });
    expect(again.text).toContain("[DONE]");
    expect(shop.upstream.calls.length).toBe(asked + 1);
    await auditor.audit();
  });
});
