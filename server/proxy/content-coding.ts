import { pipeline, type Transform } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { GatewayError } from "../errors.ts";

const DECODERS = new Map<string, () => Transform>([
  ["gzip", createGunzip],
  ["x-gzip", createGunzip],
  ["deflate", createInflate],
  ["br", createBrotliDecompress],
]);

/**
 * A body uncompressed, or undefined for a coding that is not known, and for several. Models are asked for `identity`, but some
 * servers compress all the same, and what they say must be read. Decoding goes no faster than it is read; damaged data is
 * `upstream_failed`.
 */
export function decodedBody(
  body: AsyncIterable<Uint8Array>,
  contentEncoding: string | undefined,
): AsyncIterable<Uint8Array> | undefined {
  const codings = (contentEncoding ?? "").split(",").map((coding) => coding.trim().toLowerCase());
  const [coding, ...more] = codings.filter((name) => name !== "" && name !== "identity");
  if (coding === undefined) return body;
  const decoder = more.length > 0 ? undefined : DECODERS.get(coding);
  return decoder === undefined ? undefined : decode(body, decoder());
}

async function* decode(body: AsyncIterable<Uint8Array>, decoder: Transform): AsyncGenerator<Uint8Array> {
  // Its error is also the iteration's.
  pipeline(body, decoder, () => {});
  try {
    for await (const chunk of decoder) {
      if (chunk instanceof Uint8Array) yield chunk;
    }
  } catch (cause) {
    throw cause instanceof GatewayError ? cause : new GatewayError("upstream_failed", { cause });
  }
}
