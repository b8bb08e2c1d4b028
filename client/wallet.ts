import { generateKeyPairSync, randomUUID } from "node:crypto";
import { chmod, link, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { createKeyPairSignerFromBytes, type KeyPairSigner } from "@solana/kit";
import { z } from "zod";

const keypairSchema = z.array(z.int().min(0).max(255)).length(64);

export interface Wallet {
  readonly signer: KeyPairSigner;
  /** It was made by this call. */
  readonly isNew: boolean;
  /** Somebody else on this machine may read the file. */
  readonly isExposed: boolean;
}

/**
 * Loads a Solana keypair file (64 numbers as JSON: seed, then public key), or makes one with mode 0600.
 * Race: of two processes that make the same file, one wins and both use its key; a half-written key is never visible.
 * Throws if the file is there and is not a keypair: it is never overwritten.
 */
export async function loadOrCreateWallet(path: string): Promise<Wallet> {
  const found = await load(path);
  if (found !== undefined) return found;
  await makeDirectory(dirname(path));
  const draft = `${path}.${randomUUID()}.new`;
  await writeFile(draft, JSON.stringify([...generateKeypair()]), { mode: 0o600, flag: "wx" });
  let isNew = true;
  try {
    await chmod(draft, 0o600);
    await link(draft, path);
  } catch (error) {
    if (!isCode(error, "EEXIST")) throw error;
    isNew = false;
  } finally {
    await rm(draft, { force: true });
  }
  const made = await load(path);
  if (made === undefined) throw new Error(`${path} vanished while it was being made`);
  return { ...made, isNew };
}

/** Node 20's `recursive` never ends below a directory in which nothing can be made (`/proc`). */
async function makeDirectory(path: string): Promise<void> {
  const isThere = () =>
    stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
  if (await isThere()) return;
  if (dirname(path) !== path) await makeDirectory(dirname(path));
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (cause) {
    // Another process may have made it meanwhile.
    if (!(await isThere())) throw cause;
  }
}

async function load(path: string): Promise<Wallet | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined;
    throw error;
  }
  const isExposed = ((await stat(path)).mode & 0o077) !== 0;
  return { signer: await parseKeypair(text, path), isNew: false, isExposed };
}

async function parseKeypair(text: string, path: string): Promise<KeyPairSigner> {
  try {
    return await createKeyPairSignerFromBytes(Uint8Array.from(keypairSchema.parse(JSON.parse(text))));
  } catch {
    // The cause is left out on purpose: a parser's message may quote the key.
    throw new Error(`${path} is not a Solana keypair file (64 numbers as JSON); it was left as it is`);
  }
}

function generateKeypair(): Buffer {
  const { d, x } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  if (d === undefined || x === undefined) throw new Error("this Node cannot make an ed25519 key");
  return Buffer.concat([Buffer.from(d, "base64url"), Buffer.from(x, "base64url")]);
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
