import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { type Listening, listen } from "./listen.ts";

export const USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
const TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
const BLOCKHASH = "EETubP5AKHgjPAhzPAFcb8BAY1hMH639CWCFTqi3hq1k";

export interface StandInRpc extends Listening {
  /** Methods asked, in order. */
  readonly asked: string[];
  /** What every token account holds; undefined = no token account exists. */
  balance: bigint | undefined;
  /** Addresses that are mints of 6 decimals; USDC's is one. */
  readonly mints: Set<string>;
}

/** The two RPC methods a payer needs: `getAccountInfo` (USDC's mint, or a token account) and `getLatestBlockhash`. */
export async function startStandInRpc(balance?: bigint): Promise<StandInRpc> {
  const asked: string[] = [];
  const server = createServer(async (req, res) => {
    const call = JSON.parse(await text(req));
    asked.push(call.method);
    const value =
      call.method === "getLatestBlockhash"
        ? { blockhash: BLOCKHASH, lastValidBlockHeight: 150 }
        : accountInfo(rpc.mints.has(call.params[0]) ? mintData() : tokenData(rpc.balance));
    res.setHeader("content-type", "application/json");
    res.end(JSON.stringify({ jsonrpc: "2.0", id: call.id, result: { context: { slot: 1 }, value } }));
  });
  const rpc: StandInRpc = Object.assign(await listen(server), {
    asked,
    balance,
    mints: new Set([USDC]),
  });
  return rpc;
}

function accountInfo(data: Buffer | undefined) {
  if (data === undefined) return null;
  return {
    data: [data.toString("base64"), "base64"],
    executable: false,
    lamports: 1_461_600,
    owner: TOKEN_PROGRAM,
    rentEpoch: 0,
    space: data.length,
  };
}

function mintData(): Buffer {
  const data = Buffer.alloc(82);
  data.writeUInt8(6, 44);
  data.writeUInt8(1, 45);
  return data;
}

function tokenData(amount: bigint | undefined): Buffer | undefined {
  if (amount === undefined) return undefined;
  const data = Buffer.alloc(165);
  data.writeBigUInt64LE(amount, 64);
  data.writeUInt8(1, 108);
  return data;
}
