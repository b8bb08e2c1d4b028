import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getBase58Decoder } from "@solana/kit";

export interface StubFacilitatorOptions {
  readonly feePayer: string;
  /** CAIP-2; default: mainnet. */
  readonly network?: string;
}

export interface StubFacilitator {
  readonly url: string;
  readonly calls: Readonly<{ verify: number; settle: number; supported: number }>;
  /** The transactions it invented, in order. */
  readonly transactions: readonly string[];
  /** What `/verify` or `/settle` answers from now on; undefined: yes. */
  answer(operation: "verify" | "settle", answer: StubAnswer | undefined): void;
  /** What `/supported` names from now on. */
  setFeePayer(feePayer: string): void;
  close(): Promise<void>;
}

export interface StubAnswer {
  readonly status?: number;
  readonly body: unknown;
}

/** A refusal in the facilitator's words. */
export function refusal(reason: string): StubAnswer {
  return { body: { isValid: false, invalidReason: reason, success: false, errorReason: reason } };
}

const MAINNET = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
const base58 = getBase58Decoder();

/** A facilitator without a chain: everything is valid and settles at once under a random transaction id. */
export async function startStubFacilitator(options: StubFacilitatorOptions): Promise<StubFacilitator> {
  const network = options.network ?? MAINNET;
  const calls = { verify: 0, settle: 0, supported: 0 };
  const transactions: string[] = [];
  let feePayer = options.feePayer;

  const answers: Record<string, () => unknown> = {
    "/verify": () => {
      calls.verify += 1;
      return { isValid: true };
    },
    "/settle": () => {
      calls.settle += 1;
      const transaction = base58.decode(randomBytes(64));
      transactions.push(transaction);
      return { success: true, transaction, network };
    },
    "/supported": () => {
      calls.supported += 1;
      const extra = { feePayer };
      return {
        kinds: [
          { x402Version: 2, scheme: "exact", network, extra },
          { x402Version: 1, scheme: "exact", network: "solana", extra },
        ],
        extensions: [],
        signers: { "solana:*": [feePayer] },
      };
    },
  };
  const others = new Map<string, StubAnswer>();
  const server = createServer((req, res) => {
    req.resume().once("end", () => {
      const path = req.url ?? "";
      const usual = answers[path]?.();
      const { status = 200, body } =
        others.get(path) ??
        (usual === undefined ? { status: 404, body: { error: "not found" } } : { body: usual });
      res.writeHead(status, { "content-type": "application/json" });
      res.end(JSON.stringify(body));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    transactions,
    answer: (operation, answer) => {
      if (answer === undefined) others.delete(`/${operation}`);
      else others.set(`/${operation}`, answer);
    },
    setFeePayer: (next) => {
      feePayer = next;
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
