import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signEd25519,
} from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { type Address, getAddressDecoder, type SignatureBytes, signatureBytes } from "@solana/kit";
import { z } from "zod";

/** A keypair of the local chain; it signs without waiting, so that nothing can happen between building and sending. */
export interface Wallet {
  readonly address: Address;
  /** 64 bytes: the seed, then the public key (the form of `solana-keygen`). */
  readonly bytes: Uint8Array;
  sign(message: Uint8Array): SignatureBytes;
}

const SEED_BYTES = 32;
/** What DER puts before an ed25519 seed (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

const keypairFile = z.array(z.int().min(0).max(255)).length(2 * SEED_BYTES);

/**
 * Loads a keypair file, or makes it (mode 0600) if it is missing; without a path the keypair lives in memory.
 * Throws Error if the file is no keypair.
 */
export function openWallet(path: string | undefined): Wallet {
  if (path !== undefined && existsSync(path)) return readWallet(path);
  const { privateKey } = generateKeyPairSync("ed25519");
  const seed = privateKey.export({ format: "der", type: "pkcs8" }).subarray(PKCS8_PREFIX.length);
  const bytes = Buffer.concat([seed, publicBytes(privateKey)]);
  if (path !== undefined) writeWhole(path, JSON.stringify([...bytes]));
  return toWallet(privateKey, bytes);
}

/** Renamed into place: a crash leaves no half keypair. */
function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function readWallet(path: string): Wallet {
  try {
    const bytes = Buffer.from(keypairFile.parse(JSON.parse(readFileSync(path, "utf8"))));
    const der = Buffer.concat([PKCS8_PREFIX, bytes.subarray(0, SEED_BYTES)]);
    const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    if (!publicBytes(privateKey).equals(bytes.subarray(SEED_BYTES)))
      throw new Error("its halves do not belong together");
    return toWallet(privateKey, bytes);
  } catch (cause) {
    throw new Error(`${path} is not a Solana keypair.`, { cause });
  }
}

function publicBytes(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(-SEED_BYTES);
}

function toWallet(privateKey: KeyObject, bytes: Uint8Array): Wallet {
  return {
    address: getAddressDecoder().decode(bytes, SEED_BYTES),
    bytes,
    sign: (message) => signatureBytes(signEd25519(null, message, privateKey)),
  };
}
