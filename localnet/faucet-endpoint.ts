import { type Address, isAddress } from "@solana/kit";
import { z } from "zod";
import { type Faucet, FaucetRefusal } from "./faucet.ts";
import type { HttpReply } from "./http-server.ts";
import { USDC_DECIMALS } from "./token.ts";

/** 1000 USDC a request. */
const MAX_AMOUNT = 1_000_000_000n;
const AMOUNT = /^(\d{1,12})(?:\.(\d{1,6}))?$/;

const request = z.object({ address: z.unknown().optional(), usdc: z.unknown().optional() });

/**
 * `POST /faucet {"address", "usdc": "5.00"}` -> `{address, usdc, balance, signature}`. A 400 has one of the codes
 * `invalid_body`, `invalid_address`, `invalid_amount`, `amount_too_large`.
 */
export function createFaucetEndpoint(faucet: Faucet, balanceOf: (owner: Address) => bigint) {
  return (body: string): HttpReply => {
    const asked = request.safeParse(parseJson(body));
    if (!asked.success) return refuse("invalid_body", 'Send {"address": "…", "usdc": "5.00"}.');
    const { address, usdc } = asked.data;
    if (typeof address !== "string" || !isAddress(address)) {
      return refuse("invalid_address", "`address` must be a Solana address in base58.");
    }
    const amount = readAmount(usdc);
    if (amount === undefined || amount === 0n) {
      return refuse("invalid_amount", '`usdc` must be a decimal string such as "5.00", above 0.');
    }
    if (amount > MAX_AMOUNT) return refuse("amount_too_large", "At most 1000 USDC a request.");
    try {
      const signature = faucet.fund(address, amount);
      const balance = formatAmount(balanceOf(address));
      return { status: 200, body: { address, usdc: formatAmount(amount), balance, signature } };
    } catch (error) {
      if (!(error instanceof FaucetRefusal)) throw error;
      return refuse("invalid_address", "This address cannot hold USDC.");
    }
  };
}

function readAmount(value: unknown): bigint | undefined {
  const match = typeof value === "string" ? AMOUNT.exec(value) : null;
  if (match === null) return undefined;
  const [, whole = "0", fraction = ""] = match;
  return BigInt(`${whole}${fraction.padEnd(USDC_DECIMALS, "0")}`);
}

/** 5000000n -> "5.00"; at least two decimals. */
function formatAmount(amount: bigint): string {
  const digits = amount.toString().padStart(USDC_DECIMALS + 1, "0");
  const fraction = digits.slice(-USDC_DECIMALS).replace(/0{1,4}$/, "");
  return `${digits.slice(0, -USDC_DECIMALS)}.${fraction}`;
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function refuse(code: string, message: string): HttpReply {
  return { status: 400, body: { error: { code, message } } };
}
