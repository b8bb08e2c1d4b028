import { type LoadResult, loadConfig } from "../../server/load-config.ts";

export const WALLET = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";
export const MEMO_SECRET = "a-secret-of-more-than-thirty-two-characters";

/** Variables with which a gateway on Solana starts, given a file with one model. */
export const SOLANA_ENV = {
  NETWORK: "solana",
  PAY_TO: WALLET,
  RPC_URL: "https://rpc.example.com/?api-key=abc",
  FACILITATOR_URL: "https://facilitator.example.com",
  PUBLIC_URL: "https://api.example.com",
  UPSTREAM_URL: "https://models.example.com/v1",
  FAREBOX_MEMO_SECRET: MEMO_SECRET,
};

export const ONE_MODEL = "models: { gpt: {} }\n";

/** Loads a file's text as `farebox.yaml`; undefined: there is no such file. */
export function load(yaml: string | undefined, env: Readonly<Record<string, string>> = {}): LoadResult {
  return loadConfig({
    env,
    cwd: "/srv/farebox",
    readFile: (path) => (path === "/srv/farebox/farebox.yaml" ? yaml : undefined),
  });
}

/** The configuration of a text that is right; the problems, as an error, of one that is not. */
export function loaded(yaml: string | undefined, env: Readonly<Record<string, string>> = {}) {
  const result = load(yaml, env);
  if ("problems" in result) throw new Error(JSON.stringify(result.problems, null, 2));
  return result.config;
}

/** `path: message` of each problem; empty if the configuration is right. */
export function problems(yaml: string | undefined, env: Readonly<Record<string, string>> = {}): string[] {
  const result = load(yaml, env);
  return "problems" in result ? result.problems.map(({ path, message }) => `${path}: ${message}`) : [];
}
