import { getBase58Encoder } from "@solana/kit";
import { z } from "zod";
import type { Chain, Landed } from "./chain.ts";
import { INVALID_PARAMS, RpcError, type RpcMethod, rpcMethod } from "./rpc.ts";
import {
  addressParam,
  commitmentOf,
  contextConfig,
  contextFields,
  contextSlot,
  inContext,
  signatureParam,
} from "./rpc-params.ts";
import { describeTransaction, encoded, TRANSACTION_ENCODINGS } from "./rpc-transaction-form.ts";
import type { Execution } from "./svm.ts";
import { type ParsedTransaction, parseTransaction } from "./transaction.ts";

const MAX_STATUSES = 256;
const MAX_LISTED = 1000;
const PREFLIGHT_FAILURE = -32002;
const SIGNATURE_FAILURE = -32003;
const UNSUPPORTED_VERSION = -32015;

const base58 = getBase58Encoder();

const wireFields = { ...contextFields, encoding: z.enum(["base58", "base64"]).optional() };
const sendConfig = z
  .object({
    ...wireFields,
    skipPreflight: z.boolean().optional(),
    preflightCommitment: z.string().optional(),
  })
  .nullish();
const simulateConfig = z
  .object({
    ...wireFields,
    sigVerify: z.boolean().optional(),
    replaceRecentBlockhash: z.boolean().optional(),
    innerInstructions: z.boolean().optional(),
  })
  .nullish();
const listConfig = z
  .object({
    ...contextFields,
    limit: z.int().min(1).max(MAX_LISTED).optional(),
    before: signatureParam.nullish(),
    until: signatureParam.nullish(),
  })
  .nullish();
const getEncoding = z.enum(TRANSACTION_ENCODINGS).optional();
const getConfig = z
  .union([
    z.object({ ...contextFields, encoding: getEncoding, maxSupportedTransactionVersion: z.int().optional() }),
    z.enum(TRANSACTION_ENCODINGS).transform((encoding) => ({ encoding })),
  ])
  .nullish();

/** The methods that send, simulate and find transactions. */
export function transactionMethods(chain: Chain): readonly (readonly [string, RpcMethod])[] {
  return [
    [
      "sendTransaction",
      rpcMethod(z.tuple([z.string(), sendConfig.optional()], z.unknown()), ([text, config]) => {
        contextSlot(chain, config);
        return send(chain, decodeWire(text, config?.encoding), config?.skipPreflight === true);
      }),
    ],
    [
      "simulateTransaction",
      rpcMethod(z.tuple([z.string(), simulateConfig.optional()], z.unknown()), ([text, config]) =>
        inContext(chain, config, simulate(chain, decodeWire(text, config?.encoding), config)),
      ),
    ],
    [
      "getSignatureStatuses",
      rpcMethod(z.tuple([z.array(signatureParam).max(MAX_STATUSES)], z.unknown()), ([signatures]) =>
        inContext(
          chain,
          { commitment: "processed" },
          signatures.map((each) => status(chain, each)),
        ),
      ),
    ],
    [
      "getSignaturesForAddress",
      rpcMethod(z.tuple([addressParam, listConfig.optional()], z.unknown()), ([account, config]) =>
        list(chain, account, config),
      ),
    ],
    [
      "getTransaction",
      rpcMethod(z.tuple([signatureParam, getConfig.optional()], z.unknown()), ([signature, config]) =>
        getTransaction(chain, signature, config),
      ),
    ],
    [
      "getTransactionCount",
      rpcMethod(z.tuple([contextConfig.optional()], z.unknown()), () => chain.transactionCount()),
    ],
  ];
}

function decodeWire(text: string, encoding: "base58" | "base64" | undefined): ParsedTransaction {
  let wire: Uint8Array;
  try {
    wire = encoding === "base64" ? Buffer.from(text, "base64") : Uint8Array.from(base58.encode(text));
  } catch {
    throw new RpcError(INVALID_PARAMS, "invalid base58 encoding");
  }
  const parsed = parseTransaction(wire);
  if (parsed === undefined) throw new RpcError(INVALID_PARAMS, "failed to deserialize transaction");
  return parsed;
}

/**
 * Without preflight a node takes anything and forgets in silence what cannot land. Here the sender is told, with one
 * exception that clients rely on: the very same transaction, sent again, gives its signature again.
 */
function send(chain: Chain, parsed: ParsedTransaction, skipPreflight: boolean): string {
  if (skipPreflight && parsed.signature !== undefined) {
    const known = chain.bySignature(parsed.signature);
    if (known?.parsed.messageHash === parsed.messageHash) return known.signature;
  }
  if (!skipPreflight) {
    const rehearsal = chain.simulate(parsed, { sigVerify: true, replaceBlockhash: false });
    if (rehearsal.err !== null) throw preflightError(rehearsal);
  }
  const result = chain.submit(parsed);
  if (result.outcome === "refused") throw preflightError(result.execution);
  return result.landed.signature;
}

function preflightError(execution: Execution): RpcError {
  if (execution.err === "SignatureFailure") {
    return new RpcError(SIGNATURE_FAILURE, "Transaction signature verification failure");
  }
  const { err, logs, units } = execution;
  const why = typeof err === "string" ? err : JSON.stringify(err);
  return new RpcError(PREFLIGHT_FAILURE, `Transaction simulation failed: ${why}`, {
    ...simulated({ err, logs, units }),
    innerInstructions: null,
  });
}

function simulated({ err, logs, units }: Pick<Execution, "err" | "logs" | "units">) {
  return { err, logs, accounts: null, unitsConsumed: units, returnData: null };
}

function simulate(chain: Chain, parsed: ParsedTransaction, config: z.infer<typeof simulateConfig>) {
  const replaceBlockhash = config?.replaceRecentBlockhash === true;
  const sigVerify = config?.sigVerify === true;
  if (sigVerify && replaceBlockhash) {
    throw new RpcError(INVALID_PARAMS, "sigVerify may not be used with replaceRecentBlockhash");
  }
  const execution = chain.simulate(parsed, { sigVerify, replaceBlockhash });
  if (execution.err === "SignatureFailure") throw preflightError(execution);
  const inner = execution.inner.flatMap((instructions, index) =>
    instructions.length === 0 ? [] : [{ index, instructions: instructions.map(encoded) }],
  );
  return {
    ...simulated(execution),
    innerInstructions: config?.innerInstructions === true ? inner : null,
    ...(replaceBlockhash ? { replacementBlockhash: chain.clock.latest(commitmentOf(config)) } : {}),
  };
}

function confirmationOf(chain: Chain, landed: Landed): "confirmed" | "finalized" {
  return chain.clock.hasReached(landed.height, "finalized") ? "finalized" : "confirmed";
}

function status(chain: Chain, signature: string) {
  const landed = chain.bySignature(signature);
  if (landed === undefined) return null;
  const { err, slot, height } = landed;
  const confirmationStatus = confirmationOf(chain, landed);
  const confirmations = confirmationStatus === "finalized" ? null : chain.clock.height() - height;
  return { slot, confirmations, err, status: err === null ? { Ok: null } : { Err: err }, confirmationStatus };
}

function list(chain: Chain, account: string, config: z.infer<typeof listConfig>) {
  contextSlot(chain, config);
  const commitment = commitmentOf(config);
  const newestFirst = chain
    .historyOf(account)
    .filter(({ height }) => chain.clock.hasReached(height, commitment))
    .reverse();
  const before = config?.before ? chain.bySignature(config.before) : undefined;
  // A node that does not know `before` cannot go on from it.
  if (config?.before && before === undefined) return [];
  const start = before === undefined ? 0 : newestFirst.indexOf(before) + 1;
  const end = newestFirst.findIndex(({ signature }) => signature === config?.until);
  return newestFirst
    .slice(start, end === -1 ? undefined : end)
    .slice(0, config?.limit ?? MAX_LISTED)
    .map((landed) => ({
      signature: landed.signature,
      slot: landed.slot,
      err: landed.err,
      memo: landed.parsed.memo,
      blockTime: Math.floor(landed.at / 1000),
      confirmationStatus: confirmationOf(chain, landed),
    }));
}

function getTransaction(chain: Chain, signature: string, config: z.infer<typeof getConfig>) {
  const options = config ?? {};
  const commitment = commitmentOf("commitment" in options ? options : undefined);
  const landed = chain.bySignature(signature);
  if (landed === undefined || !chain.clock.hasReached(landed.height, commitment)) return null;
  const { version } = landed.parsed.message;
  const known =
    "maxSupportedTransactionVersion" in options ? options.maxSupportedTransactionVersion : undefined;
  if (version !== "legacy" && (known === undefined || known < version)) {
    throw new RpcError(
      UNSUPPORTED_VERSION,
      `Transaction version (${version}) is not supported by the requesting client. Please try the request again with ` +
        `the following configuration parameter: "maxSupportedTransactionVersion": ${version}`,
    );
  }
  return describeTransaction(landed, options.encoding ?? "json", known !== undefined);
}
