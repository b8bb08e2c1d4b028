import { readUsage, type TokenUsage } from "./chat-answer.ts";
import { parseJsonObject } from "./request-json.ts";
import type { ModelEndpoint } from "./upstream.ts";

/** A report is no longer than this. Bytes. */
const REPORT = 4_096;
const KEY = '"usage"';
/** With details one or two levels deep. */
const USAGE = /"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})/g;

/** Looks for the usage in an answer that is too large to be read: most servers write it last, llama.cpp before the vectors. */
export interface UnreadUsage {
  add(chunk: Uint8Array): void;
  /** What was reported last. */
  find(): TokenUsage | undefined;
}

/** Within a string the quotes would be escaped, so that no text of a model can be taken for its usage. */
export function createUnreadUsage(endpoint: ModelEndpoint): UnreadUsage {
  let end = "";
  let report: string | undefined;
  return {
    add(chunk) {
      // A byte is a character here, so that none is cut in two.
      const text = end + Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString("latin1");
      if (text.includes(KEY)) report = [...text.matchAll(USAGE)].at(-1)?.[1] ?? report;
      end = text.slice(-REPORT);
    },
    find: () => (report === undefined ? undefined : readUsage(parseJsonObject(report), endpoint)),
  };
}
