import { z } from "zod";
import type { RedisStore } from "./redis-store.ts";
import { MAX_SESSIONS, type SessionLedger } from "./session-ledger.ts";

const use = z.enum(["first", "again"]);
const refresh = z.enum(["refreshed", "just_refreshed", "reused", "ended"]);

/** Used nonces, and sessions with their refresh tokens, where the wallet's account is. */
export function createRedisSessions({ link, shards }: RedisStore): SessionLedger {
  const run = (script: string, wallet: string, ...words: readonly (string | number)[]) =>
    link.run(script, shards.ofPayer(wallet), wallet, ...words);
  return {
    useOnce: async (wallet, key, ttlMs) => use.parse(await run("use-once", wallet, key, ttlMs)),
    async openSession({ wallet, id, token, ttlMs }) {
      await run("open-session", wallet, id, token, ttlMs, MAX_SESSIONS);
    },
    refreshSession: async ({ wallet, id, token, next, graceMs }) =>
      refresh.parse(await run("refresh-session", wallet, id, token, next, graceMs)),
    hasSession: async (wallet, id) => (await run("has-session", wallet, id)) === 1,
    async endSession(wallet, id) {
      await run("end-session", wallet, id);
    },
    async endSessions(wallet) {
      await run("end-sessions", wallet);
    },
  };
}
