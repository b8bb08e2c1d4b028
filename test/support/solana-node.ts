import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getBase58Decoder } from "@solana/kit";

/** A transaction as the stand-in tells of it. */
export interface StoredTransaction {
  readonly signature: string;
  /** SHA-256 (hex) of its message: the payment id. */
  readonly id: string;
  readonly memo: string | null;
  /** Seconds since 1970. */
  readonly blockTime: number | null;
  readonly reply: unknown;
}

export interface TransactionFacts {
  readonly memo?: string | null;
  readonly blockTime?: number | null;
  readonly err?: unknown;
  readonly mint: string;
  readonly payTo: string;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
}

const base58 = getBase58Decoder();

/** Invents a transaction with a random message. */
export function inventTransaction(facts: TransactionFacts): StoredTransaction {
  const message = randomBytes(200);
  const signature = randomBytes(64);
  const balance = (amount: string | undefined) =>
    amount === undefined
      ? []
      : [{ accountIndex: 1, mint: facts.mint, owner: facts.payTo, uiTokenAmount: { amount, decimals: 6 } }];
  return {
    signature: base58.decode(signature),
    id: createHash("sha256").update(message).digest("hex"),
    memo: facts.memo ?? null,
    blockTime: facts.blockTime ?? null,
    reply: {
      slot: 1,
      transaction: [Buffer.concat([Buffer.from([1]), signature, message]).toString("base64"), "base64"],
      meta: {
        err: facts.err ?? null,
        preTokenBalances: balance(facts.before),
        postTokenBalances: balance(facts.after),
      },
    },
  };
}

interface ListConfig {
  readonly limit: number;
  readonly before?: string;
  readonly minContextSlot?: number;
}

export interface SolanaNode {
  readonly url: string;
  /** Newest first. */
  transactions: StoredTransaction[];
  finalized: { absoluteSlot: number; blockHeight: number };
  /** The slot it has seen; asked for a later one it answers with an error, as a lagging node does. */
  contextSlot: number;
  readonly asked: { readonly method: string; readonly params: readonly unknown[] }[];
  /** Answers one method otherwise; a string is sent as it is. */
  answer(method: string, result: unknown): void;
  fail(method: string, code: number): void;
  /** Answers everything so; without a body, never. */
  answerAll(status: number, body: string | undefined): void;
  close(): Promise<void>;
}

/** A JSON-RPC node with an invented history, for the faults a real one does not show on demand. */
export async function startSolanaNode(): Promise<SolanaNode> {
  const replies = new Map<string, unknown>();
  let everything: { readonly status: number; readonly body: string | undefined } | undefined;
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const { id, method, params } = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    node.asked.push({ method, params });
    if (everything !== undefined) {
      if (everything.body !== undefined) res.writeHead(everything.status).end(everything.body);
      return;
    }
    const reply = replies.has(method) ? replies.get(method) : dispatch(method, params);
    res.end(typeof reply === "string" ? reply : JSON.stringify({ jsonrpc: "2.0", id, ...(reply as object) }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  function list([, config]: [string, ListConfig]): unknown {
    if ((config.minContextSlot ?? 0) > node.contextSlot)
      return { error: { code: -32016, message: "lagging" } };
    const start = node.transactions.findIndex(({ signature }) => signature === config.before) + 1;
    const page = node.transactions.slice(start, start + config.limit);
    return {
      result: page.map(({ signature, memo, blockTime }) => ({ signature, memo, blockTime, err: null })),
    };
  }

  function dispatch(method: string, params: unknown): unknown {
    switch (method) {
      case "getEpochInfo":
        return { result: node.finalized };
      case "getBlockTime":
        return { result: Math.floor(Date.now() / 1000) };
      case "getBlockHeight":
        return { result: node.finalized.blockHeight + 32 };
      case "getSignaturesForAddress":
        return list(params as [string, ListConfig]);
      case "getTransaction": {
        const [wanted] = params as [string];
        return { result: node.transactions.find(({ signature }) => signature === wanted)?.reply ?? null };
      }
      default:
        return { error: { code: -32601, message: "Method not found" } };
    }
  }

  const node: SolanaNode = {
    url: `http://127.0.0.1:${port}`,
    transactions: [],
    finalized: { absoluteSlot: 1_000, blockHeight: 900 },
    contextSlot: 1_032,
    asked: [],
    answer: (method, result) => {
      replies.set(method, typeof result === "string" ? result : { result });
    },
    fail: (method, code) => {
      replies.set(method, { error: { code, message: "injected" } });
    },
    answerAll: (status, body) => {
      everything = { status, body };
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
  return node;
}
