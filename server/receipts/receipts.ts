import { sign } from "node:crypto";
import type { JWSSigner, ReceiptPayload } from "@x402/extensions/offer-receipt";
import { didDocument, jwkSet } from "../../well-known/key-documents.ts";
import type { Config } from "../config.ts";
import type { FixedDocument } from "../discovery.ts";
import { deriveReceiptKeys, didOf, publicKeyOf, type ReceiptKey } from "./receipt-keys.ts";

/** What a receipt says, and what decides whether there is one. Taken from the payment's record, so that it is the same at every issue. */
export interface ReceiptFacts {
  /** Wallet, base58. */
  readonly payer: string;
  /** CAIP-2. */
  readonly network: string;
  readonly x402Version: 1 | 2;
  /** Of the resource that was paid, below `publicUrl`. */
  readonly path: string;
  /** When the payment was claimed, ms since 1970. */
  readonly createdAt: number;
  /** The transaction's id. */
  readonly transaction: string | undefined;
}

/** Signs receipts (x402 extension offer-and-receipt §5). */
export interface Receipts {
  /**
   * The receipt as a compact JWS (EdDSA), the same bytes for the same facts and key. Undefined: there is none, for a payment of version 1
   * or because it could not be signed. Never rejects, and waits for nothing.
   */
  issue(facts: ReceiptFacts): Promise<string | undefined>;
}

export interface ReceiptObserver {
  /** Whether a receipt could be signed; `error` where it could not. */
  issued(error?: unknown): void;
}

export interface OpenedReceipts {
  /** Undefined: none are given. */
  readonly receipts: Receipts | undefined;
  /** The public keys, by path; empty: there never was one. */
  readonly documents: Readonly<Record<string, FixedDocument>>;
}

/**
 * Receipts as this configuration allows them. Keys stay published when no receipts are given any more, for those that were. The
 * package that writes the JWS brings other chains' with it, so it is loaded only here.
 */
export async function openReceipts(
  { publicUrl, receipts: settings }: Pick<Config, "publicUrl" | "receipts">,
  observer: ReceiptObserver,
): Promise<OpenedReceipts> {
  const did = didOf(publicUrl);
  const keys = deriveReceiptKeys(settings.keys, did);
  const [signing] = keys;
  const published = new Map(
    [...keys.map((key) => key.published), ...settings.formerKeys.map((x) => publicKeyOf(x, did))].map(
      (key) => [key.kid, key],
    ),
  );
  const all = [...published.values()];
  return {
    receipts:
      settings.enabled && signing !== undefined
        ? await createReceipts(signing, { publicUrl, includeTransaction: settings.transaction, observer })
        : undefined,
    documents:
      all.length === 0
        ? {}
        : {
            "/.well-known/jwks.json": { type: "application/jwk-set+json", body: jwkSet(all) },
            [didPath(publicUrl)]: { type: "application/did+json", body: didDocument(did, all) },
          },
  };
}

/** Where `did:web` has its document. */
function didPath(publicUrl: string): string {
  return new URL(publicUrl).pathname === "/" ? "/.well-known/did.json" : "/did.json";
}

export interface ReceiptOptions {
  readonly publicUrl: string;
  /** Name the transaction, which whoever sees the receipt can then look up. */
  readonly includeTransaction: boolean;
  readonly observer: ReceiptObserver;
}

/**
 * Signed by Node at once: a signature takes some 50 µs, and none waits for the thread pool that jose's would queue in. The package's
 * own `createReceiptJWS` would take the time of the signing for that of the receipt.
 */
export async function createReceipts(
  key: ReceiptKey,
  { publicUrl, includeTransaction, observer }: ReceiptOptions,
): Promise<Receipts> {
  const { createJWS } = await import("@x402/extensions/offer-receipt");
  const signer: JWSSigner = {
    kid: key.published.kid,
    format: "jws",
    algorithm: "EdDSA",
    sign: async (bytes) => sign(null, bytes, key.privateKey).toString("base64url"),
  };
  return {
    async issue({ payer, network, x402Version, path, createdAt, transaction }) {
      if (x402Version === 1) return undefined;
      const payload: Omit<ReceiptPayload, "transaction"> & Partial<ReceiptPayload> = {
        version: 1,
        network,
        resourceUrl: publicUrl + path,
        payer,
        issuedAt: Math.floor(createdAt / 1_000),
        ...(includeTransaction && transaction !== undefined && transaction !== "" ? { transaction } : {}),
      };
      try {
        const receipt = await createJWS(payload, signer);
        observer.issued();
        return receipt;
      } catch (error) {
        observer.issued(error);
        return undefined;
      }
    },
  };
}
