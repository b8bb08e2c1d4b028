import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import type { ModelConfig, ModelPricing } from "../../server/config.ts";
import { quoteFlat, quoteModel } from "../../server/proxy/pricing.ts";
import { chatPrompt, promptBound } from "../../server/proxy/prompt-bound.ts";

const prompt = chatPrompt([{ role: "user", content: "Hi" }], {});
const bound = BigInt(promptBound(prompt, 0));
const model = (pricing: ModelPricing | undefined): ModelConfig => ({
  name: "m",
  upstream: "u",
  model: "m",
  maxOutput: 1_000,
  imageTokens: 0,
  pricing,
});
const quote = (input: bigint, output: bigint, outputLimit = 1_000, fixesOutput = false) =>
  quoteModel(model({ kind: "tokens", input, output }), 20_000n, { prompt, outputLimit, fixesOutput });
const usage = (promptTokens: number, completionTokens: number) => ({
  promptTokens,
  completionTokens,
  totalTokens: promptTokens + completionTokens,
});

describe("the range of a hold", () => {
  test.each([
    ["flat: the route's price", undefined, { most: 20_000n, least: 20_000n }],
    ["by the call: the model's price", { kind: "call", price: 7_000n }, { most: 7_000n, least: 7_000n }],
    ["free", { kind: "tokens", input: 0n, output: 0n }, { most: 0n, least: 0n }],
  ] as const)("%s", (_, pricing, range) => {
    const request = { prompt, outputLimit: 1_000, fixesOutput: false };
    expect(quoteModel(model(pricing), 20_000n, request).range).toEqual(range);
  });

  it("by tokens: the worst case, and a short answer as the least", () => {
    expect(quote(1_000_000n, 3_000_000n).range).toEqual({ most: bound + 3_000n, least: bound + 768n });
    expect(quote(1_000_000n, 3_000_000n, 50).range).toEqual({ most: bound + 150n, least: bound + 150n });
  });

  it("is one amount where the request says how long the answer may be", () => {
    expect(quote(1_000_000n, 3_000_000n, 1_000, true).range.least).toBe(bound + 3_000n);
  });

  it("is rounded up", () => {
    expect(quote(1n, 0n).range.most).toBe(1n);
    expect(quote(0n, 1n, 1, true).range.most).toBe(1n);
  });
});

describe("the output limit that a budget pays for", () => {
  it.each([
    ["the most", bound + 3_000n, 1_000],
    ["more than the most", 1_000_000_000n, 1_000],
    ["nothing said", undefined, 1_000],
    ["half the output", bound + 1_500n, 500],
    ["not quite another token", bound + 1_502n, 500],
    ["the prompt alone", bound, 1],
    ["less than the prompt", 1n, 1],
  ])("%s", (_, budget, expected) => {
    expect(quote(1_000_000n, 3_000_000n).outputLimit(budget)).toBe(expected);
  });

  it("is the request's where output is free or the price is flat", () => {
    expect(quote(1_000_000n, 0n).outputLimit(1n)).toBe(1_000);
    const flat = quoteModel(model(undefined), 20_000n, { prompt, outputLimit: 70, fixesOutput: false });
    expect(flat.outputLimit(1n)).toBe(70);
  });

  it("never lets a call cost more than any budget within the range, and wastes less than a token", async () => {
    const price = fc.bigInt({ min: 0n, max: 80_000_000n });
    const limit = fc.integer({ min: 1, max: 200_000 });
    await fc.assert(
      fc.asyncProperty(price, price, limit, fc.nat(10_000), async (input, output, outputLimit, share) => {
        const quoted = quote(input, output, outputLimit);
        const { most, least } = quoted.range;
        const budget = least + ((most - least) * BigInt(share)) / 10_000n;
        const clamped = quoted.outputLimit(budget);
        const cost = async (tokens: number) => {
          const meter = quoted.meter();
          meter.begun();
          meter.usage(usage(Number(bound), tokens));
          return (await meter.read()).cost;
        };
        expect(clamped).toBeGreaterThanOrEqual(Math.min(outputLimit, 256));
        expect(await cost(clamped)).toBeLessThanOrEqual(budget);
        if (clamped < outputLimit) expect(await cost(clamped + 1)).toBeGreaterThan(budget);
      }),
    );
  });
});

describe("a meter", () => {
  it.each([
    ["flat", quoteFlat(5n)],
    ["by tokens", quote(1_000_000n, 1_000_000n)],
  ])("costs nothing before the request left: %s", async (_, { meter: create }) => {
    const meter = create();
    meter.usage(usage(10, 10));
    meter.produced("text");
    expect(await meter.read()).toEqual({ begun: false, usage: undefined, estimated: false, cost: 0n });
  });

  it("of a flat price costs that once it has begun, and counts nothing without a model", async () => {
    const meter = quoteFlat(5n).meter();
    meter.begun();
    expect(await meter.read()).toEqual({ begun: true, usage: undefined, estimated: false, cost: 5n });
  });

  it("rounds up, once, over both prices", async () => {
    const meter = quote(150_000n, 600_000n).meter();
    meter.begun();
    meter.usage(usage(3, 2));
    expect((await meter.read()).cost).toBe(2n);
    // Nobody reads nothing: such a report is none.
    meter.usage(usage(0, 0));
    expect((await meter.read()).cost).toBe(2n);
  });

  it("may be read while the call runs, and each call has its own", async () => {
    const quoted = quote(0n, 1_000_000n);
    const [one, other] = [quoted.meter(), quoted.meter()];
    one.begun();
    other.begun();
    one.produced("Hello");
    const early = one.read();
    one.produced(" there! How are you today?");
    const late = await one.read();
    expect((await early).usage?.completionTokens).toBe(1);
    expect(late.usage?.completionTokens).toBe(8);
    expect((await other.read()).usage?.completionTokens).toBe(0);
  });

  it("that was read counts what is reported after it, of the output alone as well", async () => {
    const meter = quote(0n, 1_000_000n).meter();
    meter.begun();
    meter.produced("Hello");
    expect((await meter.read()).cost).toBe(1n);
    meter.usage(usage(0, 5));
    expect((await meter.read()).cost).toBe(5n);
  });

  it("counts what came after the last report on top of it", async () => {
    const meter = quote(0n, 1_000_000n).meter();
    meter.begun();
    meter.produced("Hello");
    meter.usage(usage(7, 1));
    expect(await meter.read()).toMatchObject({ estimated: false, usage: usage(7, 1) });
    meter.produced(" there");
    expect(await meter.read()).toMatchObject({ estimated: true, usage: usage(7, 2) });
    meter.usage(usage(7, 3));
    expect(await meter.read()).toMatchObject({ estimated: false, usage: usage(7, 3) });
  });
});
