import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateKeyPairSigner, type KeyPairSigner } from "@solana/kit";
import { createSIWxPayload, encodeSIWxHeader, type SIWxPayload } from "@x402/extensions/sign-in-with-x";
import express from "express";
import { openAccountApi } from "../../server/account/open-account-api.ts";
import type { AccountSenderOptions } from "../../server/alerts/account-webhook.ts";
import type { Config } from "../../server/config.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { loadConfig } from "../../server/load-config.ts";
import { openReceipts } from "../../server/receipts/receipts.ts";
import { jsonCall, readJson } from "../support/json-reply.ts";

/** Where the gateways of these tests say they are; a proxy in front would bring requests to them. */
export const PUBLIC_URL = "https://shop.example.com";
export const SESSION_KEY = Buffer.alloc(32, 9).toString("hex");
export const RECEIPT_KEY = Buffer.alloc(32, 5).toString("hex");
export const OLD_SESSION_KEY = Buffer.alloc(32, 8).toString("hex");

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // The tests look into answers of every shape.
  readonly json: Record<string, unknown>;
  /** What `Set-Cookie` set, by name; "" where it was cleared. */
  readonly cookies: Readonly<Record<string, string>>;
}

/** One gateway's account API, over real HTTP. */
export interface Gate {
  readonly config: Config;
  readonly faults: unknown[];
  call(method: string, path: string, options?: CallOptions): Promise<Reply>;
  /** A challenge as it comes. */
  challenge(wallet: KeyPairSigner): Promise<SignInChallenge>;
  /** A good proof by the official package, not used yet. */
  proof(wallet: KeyPairSigner): Promise<SIWxPayload>;
  /** A header for one request. */
  header(wallet: KeyPairSigner): Promise<Record<string, string>>;
  /** A browser that is signed in. */
  signIn(wallet: KeyPairSigner): Promise<Browser>;
}

interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

export interface SignInChallenge {
  readonly info: Record<string, string>;
  readonly message: string;
  readonly nonce: string;
  readonly expires_at: string;
}

/** Keeps cookies, and sends what the console's page would. */
export interface Browser {
  readonly cookies: Readonly<Record<string, string>>;
  readonly csrfToken: string;
  readonly account: string;
  /** `Cookie`, `Origin` and the token. */
  readonly headers: Record<string, string>;
  call(method: string, path: string, options?: CallOptions): Promise<Reply>;
}

export interface AccountWorld {
  /** Of the ledger's files, where it is SQLite. */
  readonly directory: string;
  readonly ledger: Ledger;
  readonly gate: Gate;
  /** Another gateway on the same ledger. */
  open(
    env?: Record<string, string>,
    clock?: () => number,
    perMinute?: number,
    webhookNetwork?: AccountSenderOptions["network"],
  ): Promise<Gate>;
  close(): Promise<void>;
}

export function newWallet(): Promise<KeyPairSigner> {
  return generateKeyPairSigner();
}

export const SHOP_ENV = {
  NETWORK: "solana",
  PAY_TO: "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
  RPC_URL: "https://rpc.example.com",
  FACILITATOR_URL: "https://facilitator.example.com",
  PUBLIC_URL,
  UPSTREAM_URL: "https://models.example.com/v1",
  UPSTREAM_API_KEY: "sk-of-the-operator",
  FAREBOX_MEMO_SECRET: "test-secret-test-secret-test-secret-1",
  FAREBOX_SESSION_KEY: SESSION_KEY,
  FAREBOX_RECEIPT_KEY: RECEIPT_KEY,
  FAREBOX_MASTER_KEY: Buffer.alloc(32, 7).toString("hex"),
};

/** A gateway of local mode, where webhooks may lead to this machine. */
export const LOCAL_ENV = { NETWORK: "local", PUBLIC_URL: "http://127.0.0.1:4020" };

function configOf(env: Record<string, string> = {}, perMinute = 1_000_000): Config {
  // What the operator allows for his own webhook must open nothing to accounts.
  const yaml = `models: { gpt: {} }\nlimits: { badCredentialsPerMinute: ${perMinute} }\nalerts: { allowPrivate: true }`;
  const loaded = loadConfig({ env: { ...SHOP_ENV, ...env }, cwd: "/", readFile: () => yaml });
  if ("problems" in loaded) throw new Error(JSON.stringify(loaded.problems));
  return loaded.config;
}

/** One ledger (SQLite unless another is given) and gateways on it. */
export async function openAccountWorld(given?: Ledger): Promise<AccountWorld> {
  const directory = await mkdtemp(join(tmpdir(), "farebox-account-"));
  const ledger =
    given ??
    (await openSqliteLedger({
      path: join(directory, "ledger.sqlite"),
      network: "solana",
      onFatal: (error) => {
        throw error;
      },
    }));
  const servers: Server[] = [];
  const open: AccountWorld["open"] = async (env, clock, perMinute, webhookNetwork) => {
    const { gate, server } = await openGate(configOf(env, perMinute), ledger, clock, webhookNetwork);
    servers.push(server);
    return gate;
  };
  return {
    directory,
    ledger,
    gate: await open(),
    open,
    async close() {
      for (const server of servers) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
      await ledger.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function openGate(
  config: Config,
  ledger: Ledger,
  clock?: () => number,
  webhookNetwork?: AccountSenderOptions["network"],
): Promise<{ gate: Gate; server: Server }> {
  const faults: unknown[] = [];
  const log = { info: () => {}, error: (fields: object | string) => void faults.push(fields) };
  const { receipts } = await openReceipts(config, { issued: (error) => void (error && faults.push(error)) });
  const router = await openAccountApi(config, {
    ledger,
    nodes: undefined,
    receipts,
    log,
    clock,
    webhookNetwork,
  });
  if (router === undefined) throw new Error("The account API is off.");
  const server = createServer(express().use(router)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return { gate: gateAt(`http://127.0.0.1:${port}`, config, faults), server };
}

export function gateAt(url: string, config: Config, faults: unknown[] = []): Gate {
  const { origin } = new URL(config.publicUrl);
  async function call(
    method: string,
    path: string,
    { body, headers = {} }: CallOptions = {},
  ): Promise<Reply> {
    const response = await fetch(url + path, jsonCall(method, body, headers));
    return {
      ...(await readJson(response)),
      cookies: Object.fromEntries(
        response.headers.getSetCookie().map((line) => {
          const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
          return [name, value];
        }),
      ),
    };
  }
  async function challenge({ address }: KeyPairSigner): Promise<SignInChallenge> {
    const reply = await call("POST", "/auth/challenge", { body: { address } });
    if (reply.status !== 200) throw new Error(`No challenge: ${reply.text}`);
    return reply.json as unknown as SignInChallenge;
  }
  async function proof(wallet: KeyPairSigner): Promise<SIWxPayload> {
    const { info } = await challenge(wallet);
    return createSIWxPayload(info as never, wallet as never, config.publicUrl);
  }
  return {
    config,
    faults,
    call,
    challenge,
    proof,
    header: async (wallet) => ({ "sign-in-with-x": encodeSIWxHeader(await proof(wallet)) }),
    async signIn(wallet) {
      const reply = await call("POST", "/auth/verify", { body: await proof(wallet), headers: { origin } });
      if (reply.status !== 200) throw new Error(`Not signed in: ${reply.text}`);
      return browserOf(call, origin, reply);
    },
  };
}

/** A browser with what a sign-in or a refresh answered. */
export function browserOf(call: Gate["call"], origin: string, { cookies, json }: Reply): Browser {
  const headers = {
    cookie: Object.entries(cookies)
      .map(([name, value]) => `${name}=${value}`)
      .join("; "),
    origin,
    "x-csrf-token": String(json["csrf_token"]),
  };
  return {
    cookies,
    headers,
    csrfToken: String(json["csrf_token"]),
    account: String(json["account"]),
    call: (method, path, options = {}) =>
      call(method, path, { ...options, headers: { ...headers, ...options.headers } }),
  };
}

/** The error's code and reason. */
export function refusal({ status, json }: Reply): readonly unknown[] {
  const error = (json["error"] ?? {}) as { code?: string; details?: { reason?: string } };
  return [status, error.code, error.details?.reason];
}
