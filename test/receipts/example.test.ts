import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { createBuyer, post } from "../support/buyer.ts";
import { openReceiptShop, receiptOf } from "./receipt-stand.ts";

const root = new URL("../../", import.meta.url);
let shop: KeyedShop;
beforeAll(async () => {
  shop = await openReceiptShop();
});
afterAll(() => shop.close());

async function check(receipt: string, service = shop.url) {
  const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), "receipt.ts", receipt], {
    cwd: fileURLToPath(new URL("examples/", root)),
    env: { PATH: process.env["PATH"] ?? "", FAREBOX_URL: service },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const [code] = await once(child, "close");
  return { code, output };
}

test("the example takes a receipt, and neither an altered one nor another service's", async () => {
  const buyer = await createBuyer(shop);
  const receipt = receiptOf(await buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi" }))) ?? "";
  const good = await check(receipt);
  expect(good.output).toContain(`${buyer.address} paid for ${shop.url}/agent at 20`);
  expect(good.code).toBe(0);

  expect(await check(receipt, `${shop.url}/`)).toEqual(good);

  const [header, payload = "", signature] = receipt.split(".");
  const said = Buffer.from(payload, "base64url").toString().replace(buyer.address, shop.localnet.merchant);
  const altered = await check([header, Buffer.from(said).toString("base64url"), signature].join("."));
  expect(altered.output).toContain("signature verification failed");
  expect(altered.code).not.toBe(0);

  const other = await openReceiptShop({ env: { FAREBOX_RECEIPT_KEY: Buffer.alloc(32, 4).toString("hex") } });
  const foreign = await check(receipt, other.url);
  await other.close();
  expect(foreign.output).toContain("no applicable key found");
});

test("docs/receipts.md shows the example as it is", () => {
  const example = readFileSync(new URL("examples/receipt.ts", root), "utf8");
  expect(readFileSync(new URL("docs/receipts.md", root), "utf8")).toContain(example);
});
