import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createPaywall } from "../../server/index.ts";
import { useStand } from "./stand.ts";

/** What a program of plain JavaScript passes: anything. */
type Anything = never;

const USABLE = {
  network: "local",
  payTo: "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
  publicUrl: "http://shop.test",
  memoSecret: "test-secret-test-secret-test-secret-1",
};

async function refusal(options: unknown): Promise<string> {
  const error = await createPaywall(options as Anything).then(
    async (paywall) => {
      await paywall.close();
      return new Error("it was accepted");
    },
    (reason: Error) => reason,
  );
  return error.message;
}

describe("createPaywall", () => {
  test.each([
    [{ zzz: 1 }, ["zzz: unknown setting"]],
    [{ paymnt: {} }, ['paymnt: unknown setting; did you mean "payment"?']],
    [{ payTo: undefined }, ["payTo: is missing"]],
    [{ payTo: "abc" }, ["payTo: is not a Solana address (base58 of 32 bytes)"]],
    [{ network: undefined }, ["network: is missing"]],
    [{ memoSecret: undefined }, ["memoSecret: is missing"]],
    [{ memoSecret: "short" }, ["memoSecret: each secret needs at least 32 characters"]],
    [{ onFatal: "stop" }, ["onFatal: must be a function"]],
    [{ logLevel: "loud" }, [expect.stringMatching(/^logLevel: Invalid option/)]],
    [{ bodyLimit: 5 }, [expect.stringMatching(/^bodyLimit: /)]],
    [{ payment: { setleBy: "30s" } }, ['payment.setleBy: unknown setting; did you mean "settleBy"?']],
    [
      { network: "solana", payTo: undefined, zzz: 1, memoSecret: "short" },
      [
        "payTo: is missing",
        "zzz: unknown setting",
        "memoSecret: each secret needs at least 32 characters",
        "facilitator: is missing",
        "rpcUrl: is missing",
        "publicUrl: must be https unless it is loopback",
      ],
    ],
  ])("%j", async (change, expected) => {
    const [title, ...lines] = (await refusal({ ...USABLE, ...change })).split("\n  ");
    expect(title).toBe("createPaywall: the options are not usable");
    expect(lines).toEqual(expected);
  });

  test("no options at all", async () => {
    expect(await refusal(undefined)).toContain("(options): must be an object of settings");
  });

  test("options that are undefined are left out, and a callback passes", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "farebox-options-"));
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
    const more = { dataDir, cdpKeyId: undefined, payment: undefined, onFatal: () => undefined };
    const paywall = await createPaywall({ ...USABLE, ...more, logLevel: "silent" } as Anything);
    await paywall.close();
  });
});

describe("paywall", () => {
  const stand = useStand("express");
  const WRONG = [
    [{ price: 0.02 }, ['price: write a price as a string, such as "$0.02"']],
    [{ price: "2 cents" }, ['price: write a price such as "$0.02" (at most 6 decimals)']],
    [{ price: "$0" }, ["price: a price is at least $0.000001"]],
    [{}, ["price: is missing"]],
    [{ price: "$0.02", settle: "never" }, ['settle: Invalid option: expected one of "after"|"upfront"']],
    [{ price: "$0.02", setle: "upfront" }, ['setle: unknown setting; did you mean "settle"?']],
    [{ price: "$0.02", validate: "yes" }, ["validate: must be a function"]],
    [
      { zzz: 1, dialect: "french" },
      [
        "price: is missing",
        'dialect: Invalid option: expected one of "openai"|"numeric"',
        "zzz: unknown setting",
      ],
    ],
    [
      { routes: { report: { price: "$0.02" }, "GET /a": { price: 1 } }, more: 1 },
      [
        'routes.report: write "METHOD /path"',
        'routes["GET /a"].price: write a price as a string, such as "$0.02"',
        "more: unknown setting",
      ],
    ],
  ] as const;

  test.each(WRONG)("%j", (sold, expected) => {
    const lines = ["paywall: the options are not usable", ...expected].join("\n  ");
    expect(() => stand().paywall(sold as Anything)).toThrow(new Error(lines));
  });

  test("functions and objects pass", () => {
    const validate = () => undefined;
    const input = { type: "object" };
    const sold = {
      price: "$0.02",
      settle: "upfront",
      tags: ["a"],
      input,
      outputExample: new Date(),
      validate,
    };
    expect(stand().paywall(sold as Anything)).toBeTypeOf("function");
    expect(stand().paywall({ routes: { "* /x": sold, "GET  /y": sold } } as Anything)).toBeTypeOf("function");
  });
});
