import { parentPort } from "node:worker_threads";
import { countTokensHere } from "./count-tokens.ts";
import type { Count, Counted } from "./token-counter.ts";

parentPort?.on("message", async ({ id, texts }: Count) => {
  const counted: Counted = { id, tokens: await countTokensHere(texts) };
  parentPort?.postMessage(counted);
});
