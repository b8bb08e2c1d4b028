-- @include lib account-alert
-- @flags allow-oom
-- Leases the oldest alert of those of these accounts whose turn it is: each with the webhook's URL, master key and sealed secret. Without
-- a webhook, or with a suspended one, all are skipped.
local lease_ms = tonumber(ARGV[2])
local found = {}
for i = 3, #ARGV do
  local account = ARGV[i]
  local turn = redis.call("ZSCORE", ACCOUNT_ALERT_TURNS, account)
  if turn and tonumber(turn) <= NOW then
    local pending = pending_alerts(account)
    local settings = read_hash(alert_settings_key(account))
    if #pending == 0 or not settings or settings.url == "" or is_suspended(settings) then
      for _, id in ipairs(pending) do
        redis.call("HSET", account_alert_key(id), "delivery", "skipped")
      end
      redis.call("ZREM", ACCOUNT_ALERT_TURNS, account)
    else
      local row = account_alert_key(pending[1])
      redis.call("HINCRBY", row, "attempt", 1)
      redis.call("ZADD", ACCOUNT_ALERT_TURNS, NOW + lease_ms, account)
      found[#found + 1] = { flatten(read_hash(row)), settings.url, settings.master_key, settings.sealed }
    end
  end
end
return found
