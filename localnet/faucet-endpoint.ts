import { type Address, isAddress } from "@solana/kit";
import { z } from "zod";
import { type Faucet, FaucetRefusal } from "./faucet.ts";
import type { HttpReply } from "./http-server.ts";
import { type MintOf, PLAY, PLAY_DECIMALS, USDC, USDC_DECIMALS } from "./token.ts";

const AMOUNT = /^(\d{1,12})(?:\.(\d+))?$/;

/** What the faucet gives: the name of its field, and the most at once, in whole tokens. */
interface Gift {
  readonly field: "usdc" | "play";
  readonly mint: MintOf;
  readonly decimals: number;
  readonly most: bigint;
}

const USDC_GIFT: Gift = { field: "usdc", mint: USDC, decimals: USDC_DECIMALS, most: 1_000n };
const PLAY_GIFT: Gift = { field: "play", mint: PLAY, decimals: PLAY_DECIMALS, most: 1_000_000n };

const request = z.object({
  address: z.unknown().optional(),
  usdc: z.unknown().optional(),
  play: z.unknown().optional(),
});

/**
 * `POST /faucet {"address", "usdc": "5.00"}` -> `{address, usdc, balance, signature}`; with `play` in the place of `usdc` it
 * gives the play token. A 400 has one of the codes `invalid_body`, `invalid_address`, `invalid_amount`, `amount_too_large`.
 */
export function createFaucetEndpoint(faucet: Faucet, balanceOf: (owner: Address, mint: MintOf) => bigint) {
  return (body: string): HttpReply => {
    const asked = request.safeParse(parseJson(body));
    const both = asked.data?.usdc !== undefined && asked.data.play !== undefined;
    if (!asked.success || both) {
      return refuse("invalid_body", 'Send {"address": "…", "usdc": "5.00"}, or "play": "100".');
    }
    const { address } = asked.data;
    const gift = asked.data.play === undefined ? USDC_GIFT : PLAY_GIFT;
    const { field, mint, decimals, most } = gift;
    if (typeof address !== "string" || !isAddress(address)) {
      return refuse("invalid_address", "`address` must be a Solana address in base58.");
    }
    const amount = readAmount(asked.data[field], decimals);
    if (amount === undefined || amount === 0n) {
      return refuse("invalid_amount", `\`${field}\` must be a decimal string such as "5.00", above 0.`);
    }
    if (amount > most * 10n ** BigInt(decimals)) {
      return refuse("amount_too_large", `At most ${most} ${field.toUpperCase()} a request.`);
    }
    try {
      const signature = faucet.fund(address, amount, mint);
      const balance = formatAmount(balanceOf(address, mint), decimals);
      return { status: 200, body: { address, [field]: formatAmount(amount, decimals), balance, signature } };
    } catch (error) {
      if (!(error instanceof FaucetRefusal)) throw error;
      return refuse("invalid_address", `This address cannot hold ${field.toUpperCase()}.`);
    }
  };
}

function readAmount(value: unknown, decimals: number): bigint | undefined {
  const match = typeof value === "string" ? AMOUNT.exec(value) : null;
  if (match === null) return undefined;
  const [, whole = "0", fraction = ""] = match;
  return fraction.length > decimals ? undefined : BigInt(`${whole}${fraction.padEnd(decimals, "0")}`);
}

/** 5000000n -> "5.00"; at least two decimals. */
function formatAmount(amount: bigint, decimals: number): string {
  const digits = amount.toString().padStart(decimals + 1, "0");
  const fraction = digits.slice(-decimals).replace(/0+$/, "").padEnd(2, "0");
  return `${digits.slice(0, -decimals)}.${fraction}`;
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
