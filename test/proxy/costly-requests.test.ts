import { afterEach, describe, expect, it, test, vi } from "vitest";
import { GatewayError } from "../../server/errors.ts";
import { countTokensHere } from "../../server/proxy/count-tokens.ts";
import { embeddingsPrompt, promptBound } from "../../server/proxy/prompt-bound.ts";
import { readChatRequest, readEmbeddingsRequest } from "../../server/proxy/request-fields.ts";

/** Whoever has paid nothing can send a body of a megabyte: what is read of it must not take more than its size does. */
const MANY = 500_000;
const said = [{ role: "user", content: "Hi" }];

afterEach(() => {
  vi.restoreAllMocks();
});

describe("a list is read up to its first bad item", () => {
  it.each<[string, (items: unknown[]) => Record<string, unknown>]>([
    ["messages", (messages) => ({ messages })],
    ["parts of a message", (content) => ({ messages: [{ role: "user", content }] })],
    ["calls of tools", (tool_calls) => ({ messages: [{ role: "assistant", tool_calls }] })],
    ["tools", (tools) => ({ messages: said, tools })],
    ["stops", (stop) => ({ messages: said, stop })],
  ])("%s", (_, fields) => {
    let reads = 0;
    const bad = {
      get type() {
        reads += 1;
        return 1;
      },
      get role() {
        return this.type;
      },
      get id() {
        return this.type;
      },
    };
    const read = (count: number) => {
      reads = 0;
      const refused = readChatRequest({ model: "m", ...fields(Array.from({ length: count }, () => bad)) });
      expect(refused).toBeInstanceOf(GatewayError);
      return reads;
    };
    expect(read(100)).toBe(read(1));
  });

  it.each<[string, unknown[]]>([
    ["inputs", Array.from({ length: MANY }, () => null)],
    ["lists of tokens", [Array.from({ length: MANY }, () => null)]],
    ["lists without tokens", Array.from({ length: MANY }, () => [])],
  ])("%s of an embedding", (_, input) => {
    const refused = readEmbeddingsRequest({ model: "m", input });
    expect(refused).toMatchObject({ code: "invalid_request", details: { field: "input" } });
  });

  it("names the item", () => {
    const refused = readChatRequest({ model: "m", messages: [...said, { role: "user", content: [{}] }] });
    expect(refused).toMatchObject({ details: { field: "messages.1.content.0.type" } });
    expect(readChatRequest({ model: "m", messages: [...said, { role: "poet" }] })).toMatchObject({
      details: { field: "messages.1.role" },
    });
  });
});

describe("text is normalised in short pieces, for the order of marks takes a time that grows with the square of their number", () => {
  it.each([
    ["marks that are out of order", `a${"\u0316\u0301".repeat(5_000)}`],
    ["marks that are some only once they are normalised", "\u0301\uff9e".repeat(5_000)],
    ["marks of two units", "\u{16ff0}\u{1d165}".repeat(5_000)],
  ])("%s", (_, text) => {
    const normalize = vi.spyOn(String.prototype, "normalize");
    promptBound(embeddingsPrompt(text), 0);
    const longest = Math.max(...normalize.mock.contexts.map((piece) => String(piece).length));
    expect(longest).toBeLessThanOrEqual(128);
  });

  test.each([
    ["syllables whose parts are apart", "\u1112\u1161\u11ab".repeat(300)],
    ["a mark that takes the place of another", `${"å\u0323".repeat(300)}`],
    ["letters with more marks than a piece has", `\u1f82${"\u0323\u0301".repeat(300)}`],
    ["characters that grow", "ﷺ".repeat(300)],
    ["characters of two units", "\u{1d15e}".repeat(301)],
  ])("and counts no less than for the whole: %s", (_, text) => {
    for (let shift = 0; shift < 8; shift++) {
      const shifted = "日".repeat(shift) + text;
      const bound = promptBound(embeddingsPrompt(shifted), 0);
      for (const form of ["NFC", "NFKC"]) {
        expect(bound).toBeGreaterThanOrEqual(Buffer.byteLength(shifted.normalize(form)));
      }
    }
  });
});

/** The tokenizer remembers 100,000 words, and looks through those that it has forgotten for each word after that. */
test("the words of one call do not make the counting of all others slow for ever", async () => {
  const ofTwo = Array.from({ length: 110_000 }, (_, index) =>
    String.fromCodePoint(0x4e00 + Math.floor(index / 330), 0xac00 + (index % 330)),
  );
  const looks = vi.spyOn(Map.prototype, "keys");
  await countTokensHere([ofTwo.join("!")]);
  await countTokensHere(["'s".repeat(100)]);
  expect(looks.mock.contexts.filter((map) => map instanceof Map && map.size > 50_000)).toHaveLength(0);
});
