-- @include lib account-alert
-- @flags allow-oom
-- Told, or given up, and the next is due; or (with a delay) due again later. One that has ended stays as it is.
local id, outcome, delay_ms = unpack(ARGV, 2)
local row = redis.call("HMGET", account_alert_key(id), "delivery", "account")
local account = row[2]
if row[1] ~= "pending" then return false end
if outcome == "" then
  redis.call("ZADD", ACCOUNT_ALERT_TURNS, "XX", NOW + tonumber(delay_ms), account)
  return false
end
redis.call("ZADD", ACCOUNT_ALERT_TURNS, "XX", NOW, account)
redis.call("HSET", account_alert_key(id), "delivery", outcome)
local settings = alert_settings_key(account)
if redis.call("EXISTS", settings) == 1 then
  if outcome == "delivered" then redis.call("HSET", settings, "failures", "0") else redis.call("HINCRBY", settings, "failures", 1) end
end
return false
