import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAdminApi } from "../../server/admin/admin-api.ts";
import { type AdminServer, createAdminServer } from "../../server/admin/admin-server.ts";
import { openActions } from "../../server/admin/open-actions.ts";
import type { UsageFacts } from "../../server/ledger/call-ledger.ts";
import { hashSecret } from "../../server/ledger/keys.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { openSqliteLedger } from "../../server/ledger/sqlite.ts";
import { loadConfig } from "../../server/load-config.ts";
import { createMetrics } from "../../server/metrics.ts";
import { jsonCall, readJson } from "../support/json-reply.ts";

export const ADMIN_TOKEN = "operator-token-operator-token-operator";
const PEPPER = "pepper-pepper-pepper-pepper-pepper-1";
const MASTER_KEY = Buffer.alloc(32, 7).toString("hex");

/** A ledger in local mode's place and the admin API over it. */
export interface AdminWorld {
  readonly dataDir: string;
  readonly ledger: Ledger;
  readonly url: string;
  /** What the API took for a fault of ours. */
  readonly faults: unknown[];
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>;
  close(): Promise<void>;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // The tests look into answers of every shape.
  readonly json: Record<string, unknown>;
}

/** The environment of a gateway or a command line on this data directory. */
export function adminEnv(dataDir: string): Record<string, string> {
  return { FAREBOX_DATA_DIR: dataDir, FAREBOX_KEY_PEPPER: PEPPER, FAREBOX_MASTER_KEY: MASTER_KEY };
}

export async function openAdminWorld(withMasterKey = true): Promise<AdminWorld> {
  const dataDir = await mkdtemp(join(tmpdir(), "farebox-admin-"));
  const { FAREBOX_MASTER_KEY, ...rest } = adminEnv(dataDir);
  const env = withMasterKey ? { ...rest, FAREBOX_MASTER_KEY } : rest;
  const yaml = "keys: { prefixes: [sk_farebox_, sr_] }";
  const loaded = loadConfig({ env: env as Record<string, string>, cwd: dataDir, readFile: () => yaml });
  if ("problems" in loaded) throw new Error(JSON.stringify(loaded.problems));
  const ledger = await openSqliteLedger({
    path: join(dataDir, "ledger.sqlite"),
    network: "local",
    onFatal: (error) => {
      throw error;
    },
  });
  const faults: unknown[] = [];
  const api = createAdminApi({
    actions: openActions(loaded.config, ledger),
    token: ADMIN_TOKEN,
    onFault: (error) => void faults.push(error),
  });
  const server: AdminServer = await createAdminServer({
    metrics: createMetrics(),
    host: "127.0.0.1",
    port: 0,
    api,
  });
  const url = `http://127.0.0.1:${server.port}`;
  return {
    dataDir,
    ledger,
    url,
    faults,
    async call(method, path, body, headers = {}) {
      const all = { authorization: `Bearer ${ADMIN_TOKEN}`, ...headers };
      return readJson(await fetch(url + path, jsonCall(method, body, all)));
    },
    async close() {
      await server.close();
      await ledger.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** What the ledger answers a holder of this secret. */
export async function statusOf(ledger: Ledger, secret: unknown): Promise<string> {
  const found = await ledger.keyBySecret(hashSecret(String(secret), PEPPER));
  return found === "unknown" ? "unknown" : found.key.status;
}

/** A call as the ledger records it. */
export function usageFacts(facts: Partial<UsageFacts>): UsageFacts {
  return {
    tier: "key",
    account: undefined,
    keyId: undefined,
    keyLabel: undefined,
    payer: undefined,
    route: "POST /v1/chat/completions",
    model: "gpt",
    provider: "default",
    promptTokens: 3,
    completionTokens: 2,
    estimated: false,
    held: 10n,
    upstreamCost: undefined,
    status: 200,
    upstreamStatus: 200,
    ms: 12,
    transaction: undefined,
    notCharged: undefined,
    ...facts,
  };
}
