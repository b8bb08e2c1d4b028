import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { z } from "zod";
import type { SealedResponse } from "../ledger/sealed-response.ts";
import type { StoredResponse } from "./charge.ts";

const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const BOX_OVERHEAD = IV_BYTES + TAG_BYTES;
const WRAPPED_KEY_BYTES = KEY_BYTES + BOX_OVERHEAD;

const Head = z.object({ status: z.number().int(), headers: z.array(z.tuple([z.string(), z.string()])) });

/**
 * Encrypts a response so that the ledger alone reveals nothing. Most have one key, the payment's token; one that the
 * payment-identifier may open too has a random content key, wrapped once for each.
 * Layout: number of wrapped keys (1 byte; 0 = the key itself), the wrapped keys, the box of (head length (4 bytes), head
 * JSON, body).
 */
export function sealResponse(response: StoredResponse, keys: readonly Buffer[]): SealedResponse {
  const [only] = keys;
  const head = Buffer.from(JSON.stringify({ status: response.status, headers: response.headers }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length);
  const plain = Buffer.concat([length, head, response.body]);
  if (only !== undefined && keys.length === 1) {
    return { sealed: Buffer.concat([Buffer.of(0), encrypt(plain, only)]) };
  }
  const contentKey = randomBytes(KEY_BYTES);
  const wrapped = keys.map((key) => encrypt(contentKey, key));
  return { sealed: Buffer.concat([Buffer.of(keys.length), ...wrapped, encrypt(plain, contentKey)]) };
}

/** Opens a stored response with any one of its keys; undefined if none fits or the bytes are damaged. */
export function openResponse(sealed: Uint8Array, keys: readonly Buffer[]): StoredResponse | undefined {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  const count = bytes[0] ?? 0;
  const content = bytes.subarray(1 + count * WRAPPED_KEY_BYTES);
  for (const key of count === 0 ? keys : []) {
    const plain = decrypt(content, key);
    if (plain !== undefined) return parse(plain);
  }
  for (let index = 0; index < count; index += 1) {
    const start = 1 + index * WRAPPED_KEY_BYTES;
    const wrapped = bytes.subarray(start, start + WRAPPED_KEY_BYTES);
    for (const key of keys) {
      const contentKey = decrypt(wrapped, key);
      const plain = contentKey === undefined ? undefined : decrypt(content, contentKey);
      if (plain !== undefined) return parse(plain);
    }
  }
  return undefined;
}

function parse(plain: Buffer): StoredResponse | undefined {
  const end = 4 + plain.readUInt32BE(0);
  const head = Head.safeParse(JSON.parse(plain.subarray(4, end).toString("utf8")));
  return head.success ? { ...head.data, body: plain.subarray(end) } : undefined;
}

function encrypt(plain: Buffer, key: Buffer): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  const text = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), text]);
}

function decrypt(box: Buffer, key: Buffer): Buffer | undefined {
  if (box.length < BOX_OVERHEAD) return undefined;
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, box.subarray(0, IV_BYTES));
    decipher.setAuthTag(box.subarray(IV_BYTES, BOX_OVERHEAD));
    return Buffer.concat([decipher.update(box.subarray(BOX_OVERHEAD)), decipher.final()]);
  } catch {
    return undefined;
  }
}
