import { isUtf8 } from "node:buffer";
import type { IncomingHttpHeaders } from "node:http";
import { isDeepStrictEqual } from "node:util";
import type { PaymentPayloadV1 } from "@x402/core/schemas";
import type { PaymentPayload, PaymentRequirements, ResourceInfo } from "@x402/core/types";
import { type PaymentResource, paymentPayloadV1, paymentPayloadV2 } from "./payment-schemas.ts";
import { MAX_TRANSACTION_CHARS } from "./transaction.ts";

/** A payment header of version 2 (x402 v2 §5.2) whose scheme-specific payload is the SVM one. */
interface HeaderV2 {
  readonly kind: "v2";
  readonly payload: PaymentPayload;
  /** Base64 of the signed transaction; of the right alphabet and length, not looked into. */
  readonly transaction: string;
  /** `accepted.extra.token` and `.memo`, as the client echoed them. */
  readonly token: string | undefined;
  readonly memo: string | undefined;
  /** The id of the `payment-identifier` extension: 16 to 128 of `A-Z a-z 0-9 _ -`. */
  readonly identifier: string | undefined;
}

interface HeaderV1 {
  readonly kind: "v1";
  readonly payload: PaymentPayloadV1;
  readonly transaction: string;
}

/** What the request's payment header is. `reason` is a word for logs. */
export type DecodedHeader =
  | { readonly kind: "none" }
  | { readonly kind: "malformed"; readonly reason: string }
  | { readonly kind: "unsupported_version" }
  | HeaderV2
  | HeaderV1;

export interface DecodeHeaderOptions {
  /** Accept protocol v1. */
  readonly v1: boolean;
  /** Longest header value read. */
  readonly maxBytes: number;
}

/** Deeper JSON than this serves no client, and would overflow the stack when it is written again. */
const MAX_DEPTH = 64;
const CAIP_2 = /^([-a-z0-9]{3,8}):([-_a-zA-Z0-9]{1,32})$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const IDENTIFIER = /^[A-Za-z0-9_-]{16,128}$/;

/**
 * Reads `PAYMENT-SIGNATURE` (v2), or else `X-PAYMENT` (v1): canonical base64 of UTF-8 JSON, by the schemas of x402 (payment-schemas.ts).
 * Fields that the schemas do not know are dropped. Never throws.
 */
export function decodePaymentHeader(
  headers: IncomingHttpHeaders,
  options: DecodeHeaderOptions,
): DecodedHeader {
  const v2 = headers["payment-signature"];
  if (v2 !== undefined) return decode(v2, 2, options.maxBytes);
  const v1 = headers["x-payment"];
  if (v1 === undefined) return { kind: "none" };
  return options.v1 ? decode(v1, 1, options.maxBytes) : { kind: "unsupported_version" };
}

/** A field of `accepted` that differs from what is asked. */
type AcceptedField =
  | "scheme"
  | "network"
  | "asset"
  | "amount"
  | "payTo"
  | "maxTimeoutSeconds"
  | `extra.${string}`;

const COMPARED = ["scheme", "network", "asset", "amount", "payTo", "maxTimeoutSeconds"] as const;

/**
 * The first field in which `accepted` differs from the requirements; undefined if it matches. Of `extra`, what the
 * requirements say must be there and equal; what the client has besides (token, memo) is not compared.
 */
export function acceptedMatches(
  accepted: PaymentRequirements,
  requirements: PaymentRequirements,
): AcceptedField | undefined {
  const field = COMPARED.find((name) => accepted[name] !== requirements[name]);
  if (field !== undefined) return field;
  for (const [name, value] of Object.entries(requirements.extra)) {
    const echoed = Object.hasOwn(accepted.extra, name) ? accepted.extra[name] : undefined;
    if (!isDeepStrictEqual(echoed, value)) return `extra.${name}`;
  }
  return undefined;
}

/** What became of a settlement (x402 v2 §5.3). */
export interface PaymentResponse {
  readonly success: boolean;
  /** Transaction id, base58; empty if nothing was settled. */
  readonly transaction: string;
  /** CAIP-2. */
  readonly network: string;
  readonly payer?: string | undefined;
  /** Atomic units, plain decimal. */
  readonly amount?: string | undefined;
  /** What extensions of the protocol add, by their names. */
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}

/** The value of `PAYMENT-RESPONSE` and of v1's `X-PAYMENT-RESPONSE`: base64 of the JSON. */
export function encodePaymentResponse(response: PaymentResponse): string {
  return Buffer.from(JSON.stringify(response)).toString("base64");
}

function decode(value: string | string[], version: 1 | 2, maxBytes: number): DecodedHeader {
  if (typeof value !== "string" || value.length > maxBytes) return malformed("length");
  const bytes = Buffer.from(value, "base64");
  // Node's decoder forgives much (base64url, blanks, two headers joined by a comma); only what encodes back is canonical.
  if (bytes.toString("base64") !== value) return malformed("base64");
  if (!isUtf8(bytes)) return malformed("utf8");
  const json = parseJson(bytes.toString("utf8"));
  if (json === undefined || !isRepeatable(json, MAX_DEPTH)) return malformed("json");
  if (!isObject(json)) return malformed("shape");
  const said = json["x402Version"];
  if (!Number.isSafeInteger(said)) return malformed("x402Version");
  if (said !== version) return { kind: "unsupported_version" };
  return version === 2 ? readV2(json) : readV1(json);
}

function readV2(json: unknown): DecodedHeader {
  const parsed = paymentPayloadV2.safeParse(json);
  if (!parsed.success) return malformed("shape");
  const { resource, accepted, payload, extensions } = parsed.data;
  const [, namespace, reference] = CAIP_2.exec(accepted.network) ?? [];
  if (namespace === undefined || reference === undefined) return malformed("network");
  const extra = accepted.extra ?? {};
  const token = readText(extra, "token");
  const memo = readText(extra, "memo");
  if (token === false || memo === false) return malformed("extra");
  const identifier = readIdentifier(extensions ?? {});
  if (identifier === false) return malformed("payment-identifier");
  const transaction = readTransactionText(payload);
  if (transaction === undefined) return malformed("transaction");
  return {
    kind: "v2",
    payload: {
      x402Version: 2,
      // Written out: what is spread first would give each object a hidden class of its own.
      accepted: {
        scheme: accepted.scheme,
        network: `${namespace}:${reference}`,
        amount: accepted.amount,
        asset: accepted.asset,
        payTo: accepted.payTo,
        maxTimeoutSeconds: accepted.maxTimeoutSeconds,
        extra,
      },
      payload,
      ...(resource ? { resource: resourceOf(resource) } : {}),
      ...(extensions ? { extensions } : {}),
    },
    transaction,
    token,
    memo,
    identifier,
  };
}

function readV1(json: unknown): DecodedHeader {
  const parsed = paymentPayloadV1.safeParse(json);
  if (!parsed.success) return malformed("shape");
  const transaction = readTransactionText(parsed.data.payload);
  return transaction === undefined
    ? malformed("transaction")
    : { kind: "v1", payload: parsed.data, transaction };
}

/** The same, with what is null absent. */
function resourceOf(resource: PaymentResource): ResourceInfo {
  const { url, description, mimeType, serviceName, tags, iconUrl } = resource;
  const info: ResourceInfo = { url };
  if (typeof description === "string") info.description = description;
  if (typeof mimeType === "string") info.mimeType = mimeType;
  if (typeof serviceName === "string") info.serviceName = serviceName;
  if (Array.isArray(tags)) info.tags = tags;
  if (typeof iconUrl === "string") info.iconUrl = iconUrl;
  return info;
}

function readTransactionText(payload: Readonly<Record<string, unknown>>): string | undefined {
  const { transaction } = payload;
  const fits = typeof transaction === "string" && transaction.length <= MAX_TRANSACTION_CHARS;
  return fits && transaction.length % 4 === 0 && BASE64.test(transaction) ? transaction : undefined;
}

/** An optional text; false if it is there and no text. */
function readText(extra: Readonly<Record<string, unknown>>, name: string): string | undefined | false {
  const value = Object.hasOwn(extra, name) ? extra[name] : undefined;
  return value === undefined || typeof value === "string" ? value : false;
}

/** By the rules of @x402/extensions/payment-identifier; false if the extension is there and breaks them. */
function readIdentifier(extensions: Readonly<Record<string, unknown>>): string | undefined | false {
  if (!Object.hasOwn(extensions, "payment-identifier")) return undefined;
  const extension = extensions["payment-identifier"];
  const info = isObject(extension) ? extension["info"] : undefined;
  if (!isObject(info) || typeof info["required"] !== "boolean") return false;
  const id = info["id"];
  // A client that knows the extension but sends no id echoes our declaration.
  if (id === undefined) return undefined;
  return typeof id === "string" && IDENTIFIER.test(id) ? id : false;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether a value can be copied and written again as it was: not too deep, no `__proto__`, no number beyond a double. */
function isRepeatable(value: unknown, depth: number): boolean {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return true;
  if (depth === 0 || Object.hasOwn(value, "__proto__")) return false;
  return Object.values(value).every((item) => isRepeatable(item, depth - 1));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function malformed(reason: string): DecodedHeader {
  return { kind: "malformed", reason };
}
