/** The columns of a {@link StoredKey}, of the table under the alias `k`. */
export const KEY_COLUMNS = `k.id, k.account, k.label, k.prefix, k.last4, k.permissions, k.models, k.providers,
  CAST(k.spend_limit AS TEXT) AS spend_limit, k.limit_reset, k.rpm, k.concurrency, k.expires_at, k.revoked_at, k.created_at,
  k.last_used_at, CAST(k.usage AS TEXT) AS usage, k.period, CAST(k.spent AS TEXT) AS spent, CAST(k.held AS TEXT) AS held,
  k.running, k.window_start, k.window_count`;
