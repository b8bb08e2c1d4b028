import { getBase64Decoder, getBase64Encoder } from "@solana/kit";

const decoder = getBase64Decoder();
const encoder = getBase64Encoder();

/** Without Node's Buffer: browsers have none. */
export function toBase64(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Throws if it is no base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(encoder.encode(text));
}
