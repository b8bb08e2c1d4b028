import { generateKeyPairSigner } from "@solana/kit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TOKEN_2022_PROGRAM } from "../../localnet/token.ts";
import { openWorld, post, rpcCall, type World } from "./world.ts";

let world: World;
let url: string;
beforeAll(async () => {
  world = await openWorld();
  url = `${world.net.facilitatorUrl}/faucet`;
});
afterAll(() => world.close());

const somebody = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";

test("gives USDC and a little SOL to a wallet that had nothing", async () => {
  const { address } = await generateKeyPairSigner();
  const first = await post(url, { address, usdc: "5.00" });
  expect(first).toMatchObject({ status: 200, body: { address, usdc: "5.00", balance: "5.00" } });
  const second = await post(url, { address, usdc: "0.000001" });
  expect(second.body).toMatchObject({ usdc: "0.000001", balance: "5.000001" });
  expect(second.body["signature"]).not.toBe(first.body["signature"]);
  expect(world.net.tokenBalance(address)).toBe(5_000_001n);
  expect(await rpcCall(world.net, "getBalance", [address])).toMatchObject({ result: { value: 20_000_000 } });
  expect(world.net.transfersTo(address)).toEqual([]);
});

test.each([
  ["nothing", "", "invalid_body"],
  ["no JSON", "{", "invalid_body"],
  ["a list", [], "invalid_body"],
  ["null", "null", "invalid_body"],
  ["no address", { usdc: "1" }, "invalid_address"],
  [
    "an Ethereum address",
    { address: "0x52908400098527886E0F7030069857D2E4169EE7", usdc: "1" },
    "invalid_address",
  ],
  ["a short address", { address: somebody.slice(9), usdc: "1" }, "invalid_address"],
  ["an address with a blank", { address: ` ${somebody}`, usdc: "1" }, "invalid_address"],
  ["an address as a number", { address: 5, usdc: "1" }, "invalid_address"],
  ["a program", { address: "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", usdc: "1" }, "invalid_address"],
  ["no amount", { address: somebody }, "invalid_amount"],
  ["a number as amount", { address: somebody, usdc: 5 }, "invalid_amount"],
  ["zero", { address: somebody, usdc: "0.00" }, "invalid_amount"],
  ["a negative amount", { address: somebody, usdc: "-1" }, "invalid_amount"],
  ["seven decimals", { address: somebody, usdc: "0.0000001" }, "invalid_amount"],
  ["an exponent", { address: somebody, usdc: "1e3" }, "invalid_amount"],
  ["a dollar sign", { address: somebody, usdc: "$5" }, "invalid_amount"],
  ["hexadecimal", { address: somebody, usdc: "0x10" }, "invalid_amount"],
  ["a blank", { address: somebody, usdc: "5 " }, "invalid_amount"],
  ["too much", { address: somebody, usdc: "1000.000001" }, "amount_too_large"],
  ["far too much", { address: somebody, usdc: "999999999999" }, "amount_too_large"],
])("%s is a 400", async (_, body, code) => {
  const answer = await post(url, body);
  expect(answer).toMatchObject({ status: 400, body: { error: { code } } });
  expect(world.net.tokenBalance(somebody)).toBe(0n);
});

test("1000 USDC is the most it gives at once", async () => {
  const { address } = await generateKeyPairSigner();
  expect(await post(url, { address, usdc: "1000" })).toMatchObject({
    status: 200,
    body: { balance: "1000.00" },
  });
});

test("gives the play token, of Token-2022, which every Solana client reads as such", async () => {
  const { address } = await generateKeyPairSigner();
  const { play } = world.net;
  const given = await post(url, { address, play: "100" });
  expect(given).toMatchObject({ status: 200, body: { address, play: "100.00", balance: "100.00" } });
  const finest = await post(url, { address, play: "0.000000001" });
  expect(finest.body).toMatchObject({ play: "0.000000001", balance: "100.000000001" });
  expect(world.net.tokenBalance(address, play)).toBe(100_000_000_001n);
  expect(world.net.tokenBalance(address)).toBe(0n);
  const parsed = { encoding: "jsonParsed" };
  const mint = { program: "spl-token-2022", parsed: { type: "mint", info: { decimals: 9 } } };
  expect(await rpcCall(world.net, "getAccountInfo", [play, parsed])).toMatchObject({
    result: { value: { data: mint, owner: TOKEN_2022_PROGRAM } },
  });
  const owned = await rpcCall(world.net, "getTokenAccountsByOwner", [address, { mint: play }, parsed]);
  const tokenAmount = { amount: "100000000001", decimals: 9, uiAmountString: "100.000000001" };
  expect(owned).toMatchObject({
    result: { value: [{ account: { data: { parsed: { info: { mint: play, tokenAmount } } } } }] },
  });
});

test.each([
  ["both at once", { address: somebody, usdc: "1", play: "1" }, "invalid_body"],
  ["ten decimals", { address: somebody, play: "0.0000000001" }, "invalid_amount"],
  ["zero", { address: somebody, play: "0" }, "invalid_amount"],
  ["a number", { address: somebody, play: 5 }, "invalid_amount"],
  ["too much", { address: somebody, play: "1000000.000000001" }, "amount_too_large"],
])("%s of the play token is a 400", async (_, body, code) => {
  expect(await post(url, body)).toMatchObject({ status: 400, body: { error: { code } } });
  expect(world.net.tokenBalance(somebody, world.net.play)).toBe(0n);
});

test("ten requests for one wallet at once all count", async () => {
  const { address } = await generateKeyPairSigner();
  await Promise.all(Array.from({ length: 10 }, () => post(url, { address, usdc: "1" })));
  expect(world.net.tokenBalance(address)).toBe(10_000_000n);
});

test("is reached by POST only", async () => {
  const response = await fetch(url);
  expect(response.status).toBe(404);
  await response.body?.cancel();
});
