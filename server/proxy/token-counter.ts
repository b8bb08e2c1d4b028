import type { Worker } from "node:worker_threads";
import { startThread } from "../thread.ts";
import { countTokensHere } from "./count-tokens.ts";

export interface Count {
  readonly id: number;
  readonly texts: readonly string[];
}

export interface Counted {
  readonly id: number;
  readonly tokens: number;
}

/** Tokens of `o200k_base` (count-tokens.ts). Never rejects. */
export type CountTokens = (texts: readonly string[]) => Promise<number>;

const startCounting = () => startThread(new URL("./token-thread", import.meta.url));

/**
 * Counts in a thread of its own, which starts at the first call and does not keep the process alive. What a thread that is lost had to
 * count is counted here, and the next call starts another.
 */
export function createTokenCounter(start: () => Worker = startCounting): CountTokens {
  const waiting = new Map<number, (tokens: number | undefined) => void>();
  let thread: Worker | undefined;
  let nextId = 1;

  function open(): Worker {
    const opened = start();
    const lost = (): void => {
      if (thread !== opened) return;
      thread = undefined;
      for (const resolve of waiting.values()) resolve(undefined);
      waiting.clear();
    };
    opened.on("message", ({ id, tokens }: Counted) => {
      waiting.get(id)?.(tokens);
      waiting.delete(id);
      if (waiting.size === 0) opened.unref();
    });
    opened.on("error", lost);
    opened.on("exit", lost);
    return opened;
  }

  async function ask(texts: readonly string[]): Promise<number | undefined> {
    thread ??= open();
    const id = nextId;
    nextId += 1;
    const answer = new Promise<number | undefined>((resolve) => waiting.set(id, resolve));
    thread.ref();
    const count: Count = { id, texts };
    thread.postMessage(count);
    return answer;
  }

  return async (texts) => {
    if (texts.every((text) => text === "")) return 0;
    return (await ask(texts).catch(() => undefined)) ?? countTokensHere(texts);
  };
}

/** One thread for all gateways of a process. */
export const countTokens = createTokenCounter();
