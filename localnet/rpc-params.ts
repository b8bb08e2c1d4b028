import { type Address, isAddress, isSignature, type Signature } from "@solana/kit";
import { z } from "zod";
import type { Commitment } from "./block-clock.ts";
import type { Chain } from "./chain.ts";
import { RpcError } from "./rpc.ts";

export const addressParam = z.custom<Address>(
  (value) => typeof value === "string" && isAddress(value),
  "not a base58 address",
);
export const signatureParam = z.custom<Signature>(
  (value) => typeof value === "string" && isSignature(value),
  "not a base58 signature",
);

/** What most methods take as their last parameter. */
export const contextFields = {
  commitment: z.enum(["processed", "confirmed", "finalized"]).optional(),
  minContextSlot: z.int().nonnegative().optional(),
};

export const contextConfig = z.object(contextFields).nullish();

const MIN_CONTEXT_SLOT_NOT_REACHED = -32016;

interface ContextConfig {
  readonly commitment?: Commitment | undefined;
  readonly minContextSlot?: number | undefined;
}

/** A node's default is `finalized`; kit always names one (`confirmed`). */
export function commitmentOf(config: ContextConfig | null | undefined): Commitment {
  return config?.commitment ?? "finalized";
}

/** The slot an answer is as of. Throws {@link RpcError} if the caller has seen a later one. */
export function contextSlot(chain: Chain, config: ContextConfig | null | undefined): bigint {
  const slot = chain.clock.slot(commitmentOf(config));
  if (config?.minContextSlot !== undefined && slot < config.minContextSlot) {
    throw new RpcError(MIN_CONTEXT_SLOT_NOT_REACHED, "Minimum context slot has not been reached", {
      contextSlot: slot,
    });
  }
  return slot;
}

/** Wraps a value as the methods with a context do. */
export function inContext(chain: Chain, config: ContextConfig | null | undefined, value: unknown) {
  return { context: { slot: contextSlot(chain, config), apiVersion: API_VERSION }, value };
}

/** Of the node software whose answers these are. */
export const API_VERSION = "3.0.0";
