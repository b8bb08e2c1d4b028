import { readUsage, type TokenUsage } from "./chat-answer.ts";
import { parseJsonObject } from "./request-json.ts";
import type { ModelEndpoint } from "./upstream.ts";

/** Servers write it last, with details one or two levels deep. Bytes. */
const END = 4_096;
const USAGE = /"usage"\s*:\s*(\{(?:[^{}]|\{[^{}]*\})*\})/g;

/** Looks for the usage in an answer that is too large to be read. */
export interface UnreadUsage {
  add(chunk: Uint8Array): void;
  /** What the last bytes report. */
  find(): TokenUsage | undefined;
}

/** Within a string the quotes would be escaped, so that no text of a model can be taken for its usage. */
export function createUnreadUsage(endpoint: ModelEndpoint): UnreadUsage {
  let end = Buffer.alloc(0);
  return {
    add(chunk) {
      end = Buffer.concat([end, chunk.subarray(-END)]).subarray(-END);
    },
    find() {
      const json = [...end.toString().matchAll(USAGE)].at(-1)?.[1];
      return json === undefined ? undefined : readUsage(parseJsonObject(json), endpoint);
    },
  };
}
