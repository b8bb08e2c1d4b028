/**
 * Migration n takes a database from `user_version` n to n + 1. Published ones are never edited.
 *
 * `lease_until` NULL: nobody holds the record. Each partial index contains only what is still unfinished, so that
 * the searches of a claim and of the reconciler do not grow with the number of finished payments.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE payment (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL
      CHECK (state IN ('open', 'settling', 'unknown', 'settled', 'delivered', 'credited', 'released')),
    fence INTEGER NOT NULL CHECK (fence > 0),
    lease_until INTEGER,
    fingerprint TEXT NOT NULL,
    payer TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    asset TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    network TEXT NOT NULL,
    x402_version INTEGER NOT NULL CHECK (x402_version IN (1, 2)),
    route TEXT NOT NULL,
    memo TEXT NOT NULL,
    fee_payer TEXT NOT NULL,
    claim_height INTEGER,
    tx TEXT,
    reason TEXT,
    watched INTEGER NOT NULL CHECK (watched IN (0, 1)),
    identifier TEXT,
    orphaned INTEGER NOT NULL DEFAULT 0 CHECK (orphaned IN (0, 1)),
    servings INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK (lease_until IS NULL OR state NOT IN ('delivered', 'credited')),
    CHECK (watched = 0 OR state IN ('open', 'settling', 'released')),
    CHECK (identifier IS NULL OR state <> 'released')
  ) STRICT;
  CREATE UNIQUE INDEX payment_identifier ON payment (identifier) WHERE identifier IS NOT NULL;
  CREATE INDEX payment_twin ON payment (payer, fingerprint) WHERE state IN ('settling', 'unknown', 'settled');
  CREATE INDEX payment_in_flight ON payment (payer, lease_until) WHERE state IN ('open', 'settling');
  CREATE INDEX payment_undecided ON payment (watched, updated_at) WHERE state IN ('settling', 'unknown') OR watched = 1;
  CREATE INDEX payment_idle ON payment (coalesce(lease_until, updated_at)) WHERE state = 'settled';

  CREATE TABLE payer (
    address TEXT PRIMARY KEY,
    upfront_until INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE response (
    payment INTEGER PRIMARY KEY REFERENCES payment (seq),
    sealed BLOB NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX response_expiry ON response (expires_at);

  CREATE TABLE account (
    id TEXT PRIMARY KEY,
    balance INTEGER NOT NULL CHECK (balance >= 0)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL REFERENCES account (id),
    reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('owed_credit')),
    amount INTEGER NOT NULL,
    balance INTEGER NOT NULL CHECK (balance >= 0),
    at INTEGER NOT NULL,
    UNIQUE (account, reference)
  ) STRICT;
  `,
  `
  ALTER TABLE account ADD COLUMN name TEXT NOT NULL DEFAULT '';
  ALTER TABLE account ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0 AND held <= balance);
  ALTER TABLE account ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;

  CREATE TABLE journal_2 (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL REFERENCES account (id),
    reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('owed_credit', 'credit', 'capture')),
    key TEXT,
    amount INTEGER NOT NULL,
    balance INTEGER NOT NULL CHECK (balance >= 0),
    at INTEGER NOT NULL,
    UNIQUE (account, reference)
  ) STRICT;
  INSERT INTO journal_2 (seq, account, reference, kind, amount, balance, at)
    SELECT seq, account, reference, kind, amount, balance, at FROM journal;
  DROP TABLE journal;
  ALTER TABLE journal_2 RENAME TO journal;

  CREATE TABLE api_key (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL REFERENCES account (id),
    label TEXT NOT NULL,
    prefix TEXT NOT NULL,
    last4 TEXT NOT NULL,
    permissions TEXT NOT NULL,
    models TEXT,
    providers TEXT,
    spend_limit INTEGER,
    limit_reset TEXT NOT NULL CHECK (limit_reset IN ('never', 'daily', 'weekly', 'monthly')),
    rpm INTEGER,
    concurrency INTEGER,
    expires_at INTEGER,
    revoked_at INTEGER,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    usage INTEGER NOT NULL DEFAULT 0,
    period INTEGER NOT NULL DEFAULT 0,
    spent INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    running INTEGER NOT NULL DEFAULT 0 CHECK (running >= 0),
    window_start INTEGER NOT NULL DEFAULT 0,
    window_count INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX api_key_account ON api_key (account);

  CREATE TABLE key_secret (
    hash TEXT PRIMARY KEY,
    key INTEGER NOT NULL REFERENCES api_key (seq),
    valid_until INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX key_secret_key ON key_secret (key);

  CREATE TABLE key_request (
    hash TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    key TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE hold (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    key TEXT,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    lease_until INTEGER NOT NULL,
    idempotency TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX hold_lease ON hold (account, lease_until);
  CREATE INDEX hold_expiry ON hold (lease_until);

  CREATE TABLE idempotent_call (
    id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    hold TEXT NOT NULL,
    captured INTEGER NOT NULL DEFAULT 0,
    sealed BLOB,
    sealed_until INTEGER,
    expires_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX idempotent_call_hold ON idempotent_call (hold);
  CREATE INDEX idempotent_call_expiry ON idempotent_call (expires_at);
  CREATE INDEX idempotent_call_sealed ON idempotent_call (sealed_until) WHERE sealed_until IS NOT NULL;

  CREATE TABLE usage (
    id INTEGER PRIMARY KEY,
    hold TEXT,
    at INTEGER NOT NULL,
    tier TEXT NOT NULL,
    account TEXT,
    key TEXT,
    key_label TEXT,
    payer TEXT,
    route TEXT NOT NULL,
    model TEXT,
    provider TEXT,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    estimated INTEGER NOT NULL,
    held INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    shortfall INTEGER NOT NULL DEFAULT 0,
    upstream_cost INTEGER,
    status INTEGER,
    ms INTEGER NOT NULL,
    tx TEXT,
    not_charged TEXT
  ) STRICT;
  CREATE UNIQUE INDEX usage_hold ON usage (hold) WHERE hold IS NOT NULL;
  CREATE INDEX usage_account ON usage (account);
  CREATE INDEX usage_key ON usage (key) WHERE key IS NOT NULL;

  CREATE TABLE provider_key (
    account TEXT NOT NULL REFERENCES account (id),
    provider TEXT NOT NULL,
    master_key TEXT NOT NULL,
    sealed BLOB NOT NULL,
    last4 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, provider)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    key TEXT,
    key_label TEXT,
    amount INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    at INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX alert_due ON alert (due_at);
  `,
  // A payment is exported as the version that column names; the index has those that are not, or no longer.
  `
  ALTER TABLE payment ADD COLUMN exported TEXT;
  CREATE INDEX payment_unexported ON payment (seq)
    WHERE exported IS NOT (state || '.' || fence || '.' || updated_at || '.' || watched || '.' || orphaned);
  CREATE INDEX payment_exported ON payment (updated_at) WHERE exported IS NOT NULL;
  CREATE TABLE trimmed_payment (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

  ALTER TABLE account ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE api_key ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE trimmed_reference (
    account TEXT NOT NULL REFERENCES account (id),
    reference TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (account, reference)
  ) STRICT, WITHOUT ROWID;
  `,
  "ALTER TABLE payment ADD COLUMN beneficiary TEXT",
  `
  CREATE TABLE used_once (
    wallet TEXT NOT NULL,
    key TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (wallet, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX used_once_expiry ON used_once (expires_at);

  CREATE TABLE session (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    wallet TEXT NOT NULL,
    current TEXT NOT NULL,
    previous TEXT,
    refreshed_at INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX session_wallet ON session (wallet, opened_at);
  CREATE INDEX session_expiry ON session (expires_at);

  CREATE INDEX journal_account ON journal (account, seq);
  `,
  // The journal's sequence goes on where it was, also if its newest entries were trimmed: what was exported is known by it.
  `
  ALTER TABLE payment ADD COLUMN asset_amount TEXT;
  ALTER TABLE payment ADD COLUMN topup INTEGER NOT NULL DEFAULT 0 CHECK (topup IN (0, 1));

  CREATE TABLE journal_3 (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL REFERENCES account (id),
    reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('owed_credit', 'topup', 'credit', 'capture')),
    key TEXT,
    amount INTEGER NOT NULL,
    balance INTEGER NOT NULL CHECK (balance >= 0),
    at INTEGER NOT NULL,
    UNIQUE (account, reference)
  ) STRICT;
  INSERT INTO sqlite_sequence (name, seq) SELECT 'journal_3', seq FROM sqlite_sequence WHERE name = 'journal';
  INSERT INTO journal_3 (seq, account, reference, kind, key, amount, balance, at)
    SELECT seq, account, reference, kind, key, amount, balance, at FROM journal;
  DROP TABLE journal;
  ALTER TABLE journal_3 RENAME TO journal;
  CREATE INDEX journal_account ON journal (account, seq);
  `,
  "CREATE INDEX journal_paid_in ON journal (account, seq) WHERE kind IN ('owed_credit', 'topup')",
  `
  CREATE TABLE alert_settings (
    account TEXT PRIMARY KEY REFERENCES account (id),
    low_balance INTEGER,
    key_80 INTEGER NOT NULL CHECK (key_80 IN (0, 1)),
    key_100 INTEGER NOT NULL CHECK (key_100 IN (0, 1)),
    url TEXT,
    master_key TEXT,
    sealed BLOB,
    webhook_at INTEGER,
    failures INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE account_alert (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    key TEXT,
    key_label TEXT,
    amount INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    at INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    delivery TEXT NOT NULL CHECK (delivery IN ('none', 'pending', 'delivered', 'failed', 'skipped')),
    due_at INTEGER,
    CHECK ((delivery = 'pending') = (due_at IS NOT NULL))
  ) STRICT;
  CREATE INDEX account_alert_account ON account_alert (account, id);
  CREATE INDEX account_alert_due ON account_alert (due_at) WHERE due_at IS NOT NULL;
  `,
  // Each account has its turn to be told, and is told of one after the other.
  `
  CREATE TABLE account_alert_turn (
    account TEXT PRIMARY KEY,
    at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX account_alert_turn_at ON account_alert_turn (at);
  INSERT INTO account_alert_turn (account, at)
    SELECT account, min(due_at) FROM account_alert WHERE due_at IS NOT NULL GROUP BY account;

  CREATE TABLE account_alert_2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    key TEXT,
    key_label TEXT,
    amount INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    at INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    delivery TEXT NOT NULL CHECK (delivery IN ('none', 'pending', 'delivered', 'failed', 'skipped'))
  ) STRICT;
  INSERT INTO sqlite_sequence (name, seq) SELECT 'account_alert_2', seq FROM sqlite_sequence WHERE name = 'account_alert';
  INSERT INTO account_alert_2 (id, kind, account, key, key_label, amount, threshold, at, attempt, delivery)
    SELECT id, kind, account, key, key_label, amount, threshold, at, attempt, delivery FROM account_alert;
  DROP TABLE account_alert;
  ALTER TABLE account_alert_2 RENAME TO account_alert;
  CREATE INDEX account_alert_account ON account_alert (account, id);
  `,
  // Payments whose call another one served.
  `
  CREATE TABLE stand_in (
    id TEXT PRIMARY KEY,
    payment INTEGER NOT NULL REFERENCES payment (seq)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX stand_in_payment ON stand_in (payment);
  `,
  // Keys whose holders know that a limit is used up: which limit, and of which period.
  `
  CREATE TABLE limit_told (
    key TEXT PRIMARY KEY,
    period INTEGER NOT NULL,
    spend_limit INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  // What the upstream answered, beside our answer.
  "ALTER TABLE usage ADD COLUMN upstream_status INTEGER;",
];
