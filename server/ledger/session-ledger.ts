/** A session of a wallet: one sign-in and every refresh after it. */
export interface NewSession {
  /** Base58; its shard is the wallet's. */
  readonly wallet: string;
  /** Unguessable. */
  readonly id: string;
  /** SHA-256 (hex) of the refresh token. */
  readonly token: string;
  /** It ends after this long, however often it is refreshed. */
  readonly ttlMs: number;
}

export interface RefreshRequest {
  readonly wallet: string;
  readonly id: string;
  /** Hashes: of the token that was presented, and of the one that takes its place. */
  readonly token: string;
  readonly next: string;
  /** How long the token before the current one is taken for a second tab's, not for a thief's. */
  readonly graceMs: number;
}

/**
 * `just_refreshed`: the token is the one before the current, and was replaced less than `graceMs` ago; nothing changed. `reused`:
 * any other token; somebody has a copy, so the session is ended. `ended`: there is no such session (any more).
 */
export type Refresh = "refreshed" | "just_refreshed" | "reused" | "ended";

/** Sessions of one wallet at a time; one more ends the oldest. */
export const MAX_SESSIONS = 50;

/** What all gateways must agree on about sign-ins. Changes are durable. Rejects only with `LedgerFault`. */
export interface SessionLedger {
  /**
   * Marks this key of the wallet as used for `ttlMs`. Race: of any number of concurrent calls with one key, on any number of
   * gateways, one is `first`. It must outlive what it guards: after `ttlMs` the key is `first` again.
   */
  useOnce(wallet: string, key: string, ttlMs: number): Promise<"first" | "again">;
  /** Race: one opened beside {@link endSessions} is ended by it or comes after it. */
  openSession(session: NewSession): Promise<void>;
  /** Replaces the refresh token. Race: of any number of concurrent calls with one token, one is `refreshed`. */
  refreshSession(request: RefreshRequest): Promise<Refresh>;
  /** Whether it goes on; asked at each use, so that an end holds from the next request on, everywhere. */
  hasSession(wallet: string, id: string): Promise<boolean>;
  /** Repeating it changes nothing. */
  endSession(wallet: string, id: string): Promise<void>;
  /** Ends all sessions of the wallet. */
  endSessions(wallet: string): Promise<void>;
}
