import type { RequestHandler } from "express";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Farebox, type FareboxError, type Payment } from "../../client/farebox.ts";
import type { KeyedShop } from "../keyed/keyed-shop.ts";
import { useStand } from "../middleware/stand.ts";
import { openCreditShop, read } from "../topup/credit-shop.ts";
import { type DroppingProxy, startDroppingProxy } from "./dropping-proxy.ts";
import { openCustomer, transfersOf } from "./farebox-setting.ts";

/** Calls that differ in what neither URL nor body says pay for themselves alone. */
describe("top-ups for the accounts of two keys", () => {
  let shop: KeyedShop;
  let proxy: DroppingProxy;
  beforeAll(async () => {
    shop = await openCreditShop();
    proxy = await startDroppingProxy(shop.url);
  });
  afterAll(async () => {
    await proxy.close();
    await shop.close();
  });

  const open = (options = {}) => openCustomer({ ...shop, url: proxy.url }, { maxPrice: "$1", ...options });
  const balance = async (account: string) => (await shop.books(account)).balance;
  const topUp = (secret: string): [string, RequestInit] => {
    const headers = { "content-type": "application/json", authorization: `Bearer ${secret}` };
    return [`${proxy.url}/topup`, { method: "POST", headers, body: '{"amount":"0.05"}' }];
  };

  test("one that was aborted does not pay for the other, and is paid once itself", async () => {
    const who = await open();
    const [one, other] = [await shop.customer(0n), await shop.customer(0n)];
    const settle = shop.facilitator.hold("settle");
    const controller = new AbortController();
    const [url, init] = topUp(one.secret);
    const aborted = who.farebox.request(url, { ...init, signal: controller.signal });
    await settle.arrived;
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    settle.release();
    const answers = [];
    for (const { secret } of [other, one])
      answers.push(await read(await who.farebox.request(...topUp(secret))));
    expect(answers.map(({ status, body }) => [status, body["account"]])).toEqual([
      [200, other.account],
      [200, one.account],
    ]);
    expect([await balance(one.account), await balance(other.account)]).toEqual([50_000n, 50_000n]);
    expect([transfersOf(who, shop), who.farebox.unfinished()]).toEqual([2, []]);
  });

  async function lost(): Promise<{ farebox: Farebox; payment: Payment; secret: string; account: string }> {
    const { farebox } = await open({ maxAttempts: 1 });
    const { secret, account } = await shop.customer(0n);
    proxy.drop("before it is forwarded");
    const error = await farebox.request(...topUp(secret)).catch((fault: FareboxError) => fault);
    const { payment } = error as FareboxError;
    if (payment === undefined) throw new Error("the payment was not sent");
    expect(JSON.stringify(payment)).not.toContain(secret);
    return { farebox, payment, secret, account };
  }

  test("resumed, it credits the account that it was for", async () => {
    const { farebox, payment, account } = await lost();
    expect((await read(await farebox.resume(payment))).body).toMatchObject({ account, balance: "0.05" });
  });

  test("resumed by another process, it does not without its key, and is as good afterwards", async () => {
    const { payment, secret, account } = await lost();
    const { farebox } = await open();
    const written: Payment = JSON.parse(JSON.stringify(payment));
    const before = proxy.credentials.length;
    await expect(farebox.resume(written)).rejects.toMatchObject({ code: "invalid_payment" });
    expect(proxy.credentials).toHaveLength(before);
    const answer = await read(await farebox.resume(written, { authorization: `Bearer ${secret}` }));
    expect(answer.body).toMatchObject({ account, balance: "0.05" });
  });
});

describe("two parts of a file", () => {
  const stand = useStand("express");
  const file = new URL("../../LICENSE", import.meta.url).pathname;
  const part = (bytes: string) => ({ headers: { range: `bytes=${bytes}` } });

  async function openFile() {
    const url = stand().mount((app, path) =>
      app.get(path, stand().paywall({ price: "$0.02" }) as RequestHandler, (_req, res) => res.sendFile(file)),
    );
    const { signer } = await stand().buyer();
    const payments: Payment[] = [];
    const farebox = new Farebox({
      baseUrl: stand().origin,
      wallet: signer,
      rpcUrl: stand().rpcUrl,
      onEvent: (event) => void (event.type === "signed" && payments.push(event.payment)),
    });
    /** Leaves the call while it is paid for. */
    async function leave(bytes: string): Promise<void> {
      const settle = stand().facilitator.hold("settle");
      const controller = new AbortController();
      const call = farebox.request(url, { ...part(bytes), signal: controller.signal });
      await settle.arrived;
      controller.abort(new Error("enough"));
      await expect(call).rejects.toThrow("enough");
      settle.release();
    }
    return { url, farebox, payments, leave };
  }

  test("one that was aborted does not pay for the other, and is paid once itself", async () => {
    const { url, farebox, payments, leave } = await openFile();
    await leave("0-9");
    const parts = [];
    for (const bytes of ["10-19", "0-9"]) parts.push(await farebox.request(url, part(bytes)));
    expect(parts.map(({ status, headers }) => [status, headers.get("content-range")?.split("/")[0]])).toEqual(
      [
        [206, "bytes 10-19"],
        [206, "bytes 0-9"],
      ],
    );
    expect([payments.length, farebox.unfinished()]).toEqual([2, []]);
  });

  test("resumed, the part comes that was paid for", async () => {
    const { farebox, payments, leave } = await openFile();
    await leave("5-14");
    const [payment] = JSON.parse(JSON.stringify(payments));
    const { status, headers } = await farebox.resume(payment);
    expect([status, headers.get("content-range")]).toEqual([206, expect.stringMatching(/^bytes 5-14\//)]);
  });
});
