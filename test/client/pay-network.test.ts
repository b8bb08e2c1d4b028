import { expect, test } from "vitest";
import { findNetwork } from "../../client/pay-network.ts";

const LOCAL = { rpcUrl: "http://127.0.0.1:8899", faucetUrl: "http://127.0.0.1:4022/faucet" };
const REAL = "https://rpc.example/key";

function find(url: string, env: NodeJS.ProcessEnv = {}, rpc?: string, faucet?: string) {
  return findNetwork({ url: new URL(url), rpc, faucet }, env);
}

test.each([
  "http://127.0.0.1:4020/agent",
  "http://127.9.9.9/",
  "http://localhost:4020/",
  "http://[::1]:4020/",
])("%s is local: the local network's RPC and faucet", (url) => {
  expect(find(url)).toEqual(LOCAL);
});

test.each([
  "https://api.example/agent",
  "http://10.0.0.1/",
  "http://127.0.0.1.example/",
  "http://localhost.example/",
])("%s is not local: no RPC by default, and never a faucet", (url) => {
  expect(find(url)).toEqual({ rpcUrl: undefined, faucetUrl: undefined });
  expect(find(url, { SOLANA_RPC_URL: REAL })).toEqual({ rpcUrl: REAL, faucetUrl: undefined });
  expect(find(url, { SOLANA_RPC_URL: "http://127.0.0.1:8899" }).faucetUrl).toBeUndefined();
  expect(() => find(url, {}, REAL, "http://127.0.0.1:4022/faucet")).toThrow("--faucet");
});

test("a local server with a real RPC is not local: no faucet", () => {
  expect(find("http://127.0.0.1:4020/", { SOLANA_RPC_URL: REAL })).toEqual({
    rpcUrl: REAL,
    faucetUrl: undefined,
  });
  expect(find("http://127.0.0.1:4020/", {}, REAL)).toEqual({ rpcUrl: REAL, faucetUrl: undefined });
});

test("--rpc comes before SOLANA_RPC_URL, and the local ports can be moved", () => {
  expect(find("https://api.example/", { SOLANA_RPC_URL: "https://other.example/" }, REAL).rpcUrl).toBe(REAL);
  expect(find("http://localhost/", { LOCALNET_RPC_PORT: "1899", LOCALNET_FACILITATOR_PORT: "1022" })).toEqual(
    {
      rpcUrl: "http://127.0.0.1:1899",
      faucetUrl: "http://127.0.0.1:1022/faucet",
    },
  );
});
