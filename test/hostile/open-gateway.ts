import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../../server/config.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { loadConfig } from "../../server/load-config.ts";
import { createLogger } from "../../server/log.ts";
import { startGateway } from "../../server/start.ts";
import { type StandInRpc, startStandInRpc } from "../client/stand-in-rpc.ts";
import { lastingPort } from "../support/lasting-port.ts";
import { type ModelUpstream, startModelUpstream } from "../support/model-upstream.ts";
import { type StubFacilitator, startStubFacilitator } from "../support/stub-facilitator.ts";
import { FEE_PAYER, MERCHANT, PUBLIC_URL, SECRET, termsKnown } from "./stall.ts";

/** A whole gateway before an upstream that notes what reaches it, and a facilitator that accepts everything. */
export interface OpenGateway {
  readonly url: string;
  readonly port: number;
  readonly config: Config;
  readonly upstream: ModelUpstream;
  readonly facilitator: StubFacilitator;
  readonly rpc: StandInRpc;
  readonly ledger: Ledger;
  close(): Promise<void>;
}

const YAML = `
service: { name: Test shop, description: A shop for tests }
models:
  gpt-test: { upstream: default, model: upstream-model, maxOutput: 1000 }
drain: 0s
`;

/** `yaml` is added to a file that has one model; `destination` gets the log. */
export async function openGateway(
  yaml: string,
  destination?: { write(line: string): void },
): Promise<OpenGateway> {
  const dataDir = await mkdtemp(join(tmpdir(), "farebox-hostile-"));
  const facilitator = await startStubFacilitator({ feePayer: FEE_PAYER });
  const rpc = await startStandInRpc();
  const upstream = await startModelUpstream();
  const env = {
    NETWORK: "solana",
    PORT: String(await lastingPort()),
    HOST: "127.0.0.1",
    PUBLIC_URL,
    PAY_TO: MERCHANT,
    RPC_URL: rpc.url,
    FACILITATOR_URL: facilitator.url,
    UPSTREAM_URL: upstream.url,
    FAREBOX_DATA_DIR: dataDir,
    FAREBOX_MEMO_SECRET: SECRET,
    LOG_LEVEL: "silent",
  };
  const loaded = loadConfig({ env, cwd: dataDir, readFile: () => YAML + yaml });
  if ("problems" in loaded) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded;
  const gateway = await startGateway({
    config,
    log:
      destination === undefined
        ? createLogger({ level: "silent" })
        : createLogger({ level: "info", destination }),
    onFatal: (error) => {
      throw error;
    },
  });
  await termsKnown(`${gateway.url}/agent`, { method: "POST" });
  return {
    url: gateway.url,
    port: Number(new URL(gateway.url).port),
    config,
    upstream,
    facilitator,
    rpc,
    ledger: gateway.ledger,
    async close() {
      await gateway.close();
      await upstream.close();
      await facilitator.close();
      await rpc.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
