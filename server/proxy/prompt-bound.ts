import type { ChatRequest, EmbeddingsRequest } from "./request-fields.ts";
import type { JsonObject } from "./request-json.ts";

/** Everything of a request that becomes prompt tokens. */
export interface Prompt {
  /** Put before the model as it is. */
  readonly texts: readonly string[];
  /** JSON that a chat template may write anew: indented, with blanks, escaped. */
  readonly json: readonly string[];
  /** Messages of a chat, inputs of an embedding. */
  readonly parts: number;
  readonly images: number;
  /** Tokens that the caller has made itself. */
  readonly tokenIds: number;
  readonly isChat: boolean;
}

/** A template's own preamble: the date, the model's name, its default instructions. Tokens. */
const CHAT_FRAME = 256;
/** What tells a model how to call functions. Tokens. */
const TOOLS_FRAME = 512;
/** Marks around a message or an input, its role included. Tokens. */
const PART_FRAME = 16;
/** Indented JSON has at most one more token for each of its bytes. */
const JSON_FACTOR = 2;
/** Fields beside the messages that are put before the model. */
const PROMPT_FIELDS = ["tools", "functions", "tool_choice", "function_call", "response_format"] as const;

/** UTF-16 units that are normalised at a time. */
const PIECE = 128;
/** How far before its end a piece looks for a place to end: Unicode's own limit for the marks of a letter in a stream is 30 (UAX #15). */
const NEAR = 32;
/** What a letter may gain when its marks, which another piece has, come between it and those that it was written with. Bytes. */
const TORN = 16;
const JOINS = /^[\p{M}\u1160-\u11ff]/u;

/** What a chat puts before its model. `sent` is the request as the upstream gets it. */
export function chatPrompt(messages: ChatRequest["messages"], sent: JsonObject): Prompt {
  const texts: string[] = [];
  const json: string[] = [];
  let images = 0;
  const add = (text: string | null | undefined): void => {
    if (typeof text === "string" && text !== "") texts.push(text);
  };
  for (const message of messages) {
    if (Array.isArray(message.content)) {
      for (const part of message.content) {
        if (part.type === "text") add(part.text);
        else if (part.type === "refusal") add(part.refusal);
        else images++;
      }
    } else add(message.content);
    add(message.name);
    add(message.refusal);
    add(message.reasoning_content);
    add(message.tool_call_id);
    if (message.tool_calls != null) json.push(JSON.stringify(message.tool_calls));
    if (message.function_call != null) json.push(JSON.stringify(message.function_call));
  }
  for (const field of PROMPT_FIELDS) {
    if (sent[field] !== undefined) json.push(JSON.stringify(sent[field]));
  }
  return { texts, json, parts: messages.length, images, tokenIds: 0, isChat: true };
}

/** What is embedded. */
export function embeddingsPrompt(input: EmbeddingsRequest["input"]): Prompt {
  const inputs = typeof input === "string" ? [input] : input;
  const texts: string[] = [];
  let tokenIds = 0;
  for (const item of inputs) {
    if (typeof item === "string") texts.push(item);
    else tokenIds += typeof item === "number" ? 1 : item.length;
  }
  const parts = typeof inputs[0] === "number" ? 1 : inputs.length;
  return { texts, json: [], parts, images: 0, tokenIds, isChat: false };
}

/**
 * No model counts more prompt tokens than this: a token of a byte-level vocabulary stands for at least one byte of UTF-8, and
 * special tokens that are written as text are text.
 */
export function promptBound(prompt: Prompt, imageTokens: number): number {
  const { texts, json, parts, images, tokenIds, isChat } = prompt;
  let bound = isChat ? CHAT_FRAME : 0;
  if (json.length > 0) bound += TOOLS_FRAME;
  for (const text of texts) bound += mostBytes(text);
  for (const text of json) bound += JSON_FACTOR * mostBytes(text);
  return bound + parts * PART_FRAME + images * imageTokens + tokenIds;
}

/**
 * Some tokenizers normalise first, which makes a few characters longer (U+FDFA: from 3 bytes to 33). Normalising puts the marks of a
 * letter in order, in a time that grows with the square of their number, so it is done in short pieces.
 */
function mostBytes(text: string): number {
  const bytes = Buffer.byteLength(text);
  if (bytes === text.length) return bytes;
  let nfc = 0;
  let nfkc = 0;
  for (let start = 0; start < text.length; ) {
    const { end, isClean } = pieceFrom(text, start);
    const piece = text.slice(start, end);
    nfc += Buffer.byteLength(piece.normalize("NFC"));
    nfkc += Buffer.byteLength(piece.normalize("NFKC"));
    if (!isClean) {
      nfc += TORN;
      nfkc += TORN;
    }
    start = end;
  }
  return Math.max(bytes, nfc, nfkc);
}

/** Ends where normalising cannot join what stands on both sides, if such a place is near. */
function pieceFrom(text: string, start: number): { readonly end: number; readonly isClean: boolean } {
  const last = start + PIECE;
  if (last >= text.length) return { end: text.length, isClean: true };
  for (let end = last; end > last - NEAR; end--) {
    if (beginsAnew(text, end)) return { end, isClean: true };
  }
  return { end: isLowSurrogate(text.charCodeAt(last)) ? last - 1 : last, isClean: false };
}

/** Neither a mark, nor the second or third part of a Hangul syllable, nor what becomes one. */
function beginsAnew(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  if (code < 0x80) return true;
  if (isLowSurrogate(code)) return false;
  return !JOINS.test(String.fromCodePoint(text.codePointAt(at) ?? code).normalize("NFKD"));
}

function isLowSurrogate(code: number): boolean {
  return (code & 0xfc00) === 0xdc00;
}
