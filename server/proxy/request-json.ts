import { isUtf8 } from "node:buffer";
import { GatewayError } from "../errors.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

/** Deeper values are refused: writing them out again, and many an upstream's parser, recurse. */
const MAX_DEPTH = 64;

/** The request body as a JSON object, or `invalid_json`, or `invalid_request`. Its size is bounded by the body limit. */
export function parseJsonBody(body: Buffer): GatewayError | JsonObject {
  if (!isUtf8(body)) return new GatewayError("invalid_json");
  let parsed: unknown;
  try {
    const text = withoutMark(body.toString("utf8"));
    if (isTooDeep(text)) {
      return new GatewayError("invalid_request", { message: "The request body is nested too deeply." });
    }
    parsed = JSON.parse(text);
  } catch (cause) {
    return new GatewayError("invalid_json", { cause });
  }
  if (isJsonObject(parsed)) return parsed;
  return new GatewayError("invalid_request", { message: "The request body must be a JSON object." });
}

/** Some editors put a byte order mark in front, and some servers. */
function withoutMark(text: string): string {
  return text.startsWith("\uFEFF") ? text.slice(1) : text;
}

/** Parses what an upstream sent; undefined if it is not a JSON object. */
export function parseJsonObject(text: string): JsonObject | undefined {
  try {
    const parsed: unknown = JSON.parse(withoutMark(text));
    return isJsonObject(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** Neither null nor an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTooDeep(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (inString) {
      if (character === "\\") index++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "{" || character === "[") {
      depth++;
      if (depth > MAX_DEPTH) return true;
    } else if (character === "}" || character === "]") depth--;
  }
  return false;
}
