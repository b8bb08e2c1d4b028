import express, { type RequestHandler } from "express";
import { z } from "zod";
import { createCsrfGuard } from "../account/csrf.ts";
import { refuseOtherBodies } from "../admin/answers.ts";
import { parse } from "../admin/inputs.ts";
import { address, refuse, text } from "../config-values.ts";
import { GatewayError } from "../errors.ts";
import { formatUsd, type MicroUsd, parseUsd } from "../money.ts";

export interface LocalFaucetParts {
  /** Where local mode's facilitator and faucet are, without a trailing slash. */
  readonly url: string;
  readonly publicUrl: string;
}

const BODY_LIMIT = "1kb";
const TIMEOUT_MS = 5_000;
/** 1,000 USDC a request, as the faucet itself has it. */
const MOST: MicroUsd = 1_000_000_000n;

/** A token's atomic units are micro-dollars here: USDC has six decimals. */
const amount = text('an amount such as "5.00"').transform((value, ctx): MicroUsd => {
  const parsed = parseUsd(value);
  if (parsed === undefined) return refuse(ctx, 'write an amount such as "5.00" (at most 6 decimals)');
  return parsed >= 1n && parsed <= MOST ? parsed : refuse(ctx, "must be from 0.000001 to 1000");
});
const input = z.strictObject({ address: address(), usdc: amount });
const funded = z.object({
  address: z.string(),
  usdc: z.string(),
  balance: z.string(),
  signature: z.string(),
});

/**
 * `POST /console/local/faucet {"address", "usdc"}`: play money for the page, which may not ask the faucet's own port. Local mode only.
 * Another site's page could not read the answer, and is refused by its Origin before anything is done.
 */
export function createLocalFaucet({ url, publicUrl }: LocalFaucetParts): readonly RequestHandler[] {
  const csrf = createCsrfGuard(publicUrl, []);
  return [
    (req, res, next) => {
      res.set("Cache-Control", "no-store");
      csrf.checkOrigin(req);
      next();
    },
    express.json({ limit: BODY_LIMIT }),
    refuseOtherBodies,
    async (req, res) => {
      const { address: owner, usdc } = parse(input, req.body);
      const response = await fetch(`${url}/faucet`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ address: owner, usdc: formatUsd(usdc) }),
        redirect: "error",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const body: unknown = await response.json();
      // It was asked properly, so what it does not like is the address: not every one can hold tokens.
      if (response.status === 400) {
        throw new GatewayError("invalid_request", { message: "address: cannot hold USDC" });
      }
      res.json(funded.parse(body));
    },
  ];
}
