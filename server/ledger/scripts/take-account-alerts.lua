-- @include lib account-alert
-- @flags allow-oom
-- Leases those of these alerts that are due: each with the webhook's URL, master key and sealed secret. Without a webhook, or with a
-- suspended one, they are skipped.
local lease_ms = tonumber(ARGV[2])
local found = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local due = redis.call("ZSCORE", ACCOUNT_ALERTS_DUE, id)
  local row = due and tonumber(due) <= NOW and read_hash(account_alert_key(id))
  if row then
    local settings = read_hash(alert_settings_key(row.account))
    if not settings or settings.url == "" or is_suspended(settings) then
      redis.call("ZREM", ACCOUNT_ALERTS_DUE, id)
      redis.call("HSET", account_alert_key(id), "delivery", "skipped")
    else
      row.attempt = text(redis.call("HINCRBY", account_alert_key(id), "attempt", 1))
      redis.call("ZADD", ACCOUNT_ALERTS_DUE, NOW + lease_ms, id)
      found[#found + 1] = { flatten(row), settings.url, settings.master_key, settings.sealed }
    end
  end
end
return found
