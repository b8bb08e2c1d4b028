import { RateLimiterMemory } from "rate-limiter-flexible";
import { z } from "zod";
import { parse } from "../admin/inputs.ts";
import { address } from "../config-values.ts";
import { ChainError } from "../payment/chain.ts";
import { TOKEN_PROGRAMS } from "../payment/mint-account.ts";
import type { NodePool } from "../payment/node-pool.ts";
import { associatedTokenAccount } from "../payment/rpc-chain.ts";
import { type AtSlot, COMMITMENTS, type SigningReads } from "../payment/signing-reads.ts";
import { take } from "./read-limit.ts";

export interface SigningRpcParts {
  /** Undefined: there is no node to ask. */
  readonly nodes: Pick<NodePool, "ask"> | undefined;
  /** What can be paid in, base58: USDC and the tokens of top-ups. */
  readonly mints: readonly string[];
}

/** Answers a JSON-RPC 2.0 body of this wallet. Throws `invalid_request` and `rate_limit_exceeded`. */
export type SigningRpc = (wallet: string, body: unknown) => Promise<object>;

/** Of one wallet, on one gateway. Signing a payment takes two or three. */
const REQUESTS_A_MINUTE = 60;

/** JSON-RPC 2.0 §5.1. */
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const INTERNAL_ERROR = -32603;

const request = z.strictObject({
  jsonrpc: z.literal("2.0"),
  id: z.union([z.string().max(64), z.int(), z.null()]),
  method: z.string().max(64),
  params: z.array(z.unknown()).max(8).default([]),
});
/** A node's own default, which clients leave out. */
const commitment = z.enum(COMMITMENTS).default("finalized");
const blockhashParams = z.union([z.tuple([z.strictObject({ commitment })]), z.tuple([])]);
const accountParams = z.tuple([address(), z.strictObject({ encoding: z.literal("base64"), commitment })]);

class Refusal extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * The part of a Solana node that signing a payment here needs, for a page that may ask no other origin: `getLatestBlockhash`, and
 * `getAccountInfo` of what is sold for and of the wallet's own token accounts. Nothing that a caller wrote reaches a node: each
 * request is made anew. Refusals are JSON-RPC errors with status 200, since clients show nothing of the body of another.
 */
export function createSigningRpc({ nodes, mints }: SigningRpcParts): SigningRpc {
  const limiter = new RateLimiterMemory({ points: REQUESTS_A_MINUTE, duration: 60 });

  async function answer(
    wallet: string,
    method: string,
    params: readonly unknown[],
  ): Promise<AtSlot<unknown>> {
    if (method === "getLatestBlockhash") {
      const [config] = checked(blockhashParams, params);
      return ask((node) => node.latestBlockhash(config?.commitment ?? "finalized"));
    }
    if (method === "getAccountInfo") {
      const [account, config] = checked(accountParams, params);
      if (!(await mayRead(wallet, account))) {
        throw new Refusal(
          INVALID_PARAMS,
          "Only the tokens that are sold for here, and your own accounts of them.",
        );
      }
      const { slot, value } = await ask((node) => node.storedAccount(account, config.commitment));
      return { slot, value: value && { ...value, data: [value.data, "base64"] } };
    }
    throw new Refusal(METHOD_NOT_FOUND, "Only what signing a payment needs is answered here.");
  }

  async function mayRead(wallet: string, account: string): Promise<boolean> {
    if (mints.includes(account)) return true;
    const own = await Promise.all(
      mints.flatMap((mint) => TOKEN_PROGRAMS.map((program) => associatedTokenAccount(wallet, mint, program))),
    );
    return own.includes(account);
  }

  async function ask<T>(question: (node: SigningReads) => Promise<T>): Promise<T> {
    if (nodes === undefined) throw new ChainError("There is no node to ask.");
    return nodes.ask(question);
  }

  return async (wallet, body) => {
    await take(limiter, wallet);
    const { id, method, params } = parse(request, body);
    try {
      const { slot, value } = await answer(wallet, method, params);
      return { jsonrpc: "2.0", id, result: { context: { slot }, value } };
    } catch (error) {
      return { jsonrpc: "2.0", id, error: errorOf(error) };
    }
  };
}

function checked<Schema extends z.ZodType>(schema: Schema, params: readonly unknown[]): z.output<Schema> {
  const parsed = schema.safeParse(params);
  if (parsed.success) return parsed.data;
  throw new Refusal(INVALID_PARAMS, "These parameters are not answered here.");
}

function errorOf(error: unknown): { readonly code: number; readonly message: string } {
  if (error instanceof Refusal) return { code: error.code, message: error.message };
  if (!(error instanceof ChainError)) throw error;
  return { code: INTERNAL_ERROR, message: "No Solana node answers now. Nothing was spent; try again." };
}
