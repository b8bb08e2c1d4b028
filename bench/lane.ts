import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "./child.ts";

export const NETWORK_ID = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
export const ASSET = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
export const PAY_TO = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";
export const FEE_PAYER = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4";
export const BLOCKHASH = "EETubP5AKHgjPAhzPAFcb8BAY1hMH639CWCFTqi3hq1k";

/** What surrounds a server under test. */
export interface Surroundings {
  readonly facilitatorUrl: string;
  readonly rpcUrl: string;
  readonly upstreamUrl: string;
  /** The 402 that the bare servers send. */
  readonly challengeFile: string;
}

/** One server under test. Priced at `GET /report`, `/stream` and `/body`, if it sells at all. */
export interface Lane {
  readonly name: string;
  readonly label: string;
  readonly sells: boolean;
  /** Takes payments unseen: it is there for the paid measurement alone. */
  readonly floor?: true;
  /** Writes what the server needs into the (empty) directory and says how it is started. */
  readonly command: (directory: string, around: Surroundings) => Command;
}

/** What a gateway under test is told by its environment; its log and ledger go into the directory. */
export function gatewayEnv(
  directory: string,
  { rpcUrl, facilitatorUrl }: Pick<Surroundings, "rpcUrl" | "facilitatorUrl">,
): Readonly<Record<string, string>> {
  return {
    HOST: "127.0.0.1",
    ADMIN_PORT: "0",
    NETWORK: "solana",
    PAY_TO,
    RPC_URL: rpcUrl,
    FACILITATOR_URL: facilitatorUrl,
    PUBLIC_URL: "http://127.0.0.1",
    FAREBOX_DATA_DIR: join(directory, "data"),
    FAREBOX_MEMO_SECRET: "a-secret-of-the-benchmark-with-enough-characters",
  };
}

/** The absolute path of a file of this directory, or of the built program with `../dist/...`. */
export function pathOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
