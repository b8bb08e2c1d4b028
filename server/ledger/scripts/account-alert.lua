-- Alerts that accounts ask for themselves (account-alerts.ts): their settings, what was recorded, what is to be told.
-- Accounts, by when it is their turn to be told of their oldest that is pending.
local ACCOUNT_ALERT_TURNS = name("account_alert_turns")
local MAX_ACCOUNT_ALERTS = 50
local ALERTS_AN_HOUR = 30
local MAX_FAILURES = 3

local function account_alert_key(id)
  return name("account_alert", id)
end

local function alert_settings_key(account)
  return name("alert_settings", account)
end

-- nil: this account asked for nothing.
local function wishes_of(account)
  local found = redis.call("HMGET", alert_settings_key(account), "low_balance", "key_80", "key_100", "url", "failures")
  if not found[1] then return nil end
  return { low_balance = found[1], key_80 = found[2], key_100 = found[3], url = found[4], failures = found[5] }
end

local function is_suspended(settings)
  return tonumber(settings.failures) >= MAX_FAILURES
end

-- Whether it was told as often within the hour as it may be.
local function told_enough(log)
  local nth = redis.call("LINDEX", log, ALERTS_AN_HOUR - 1)
  local at = nth and redis.call("HGET", account_alert_key(nth), "at")
  return at and tonumber(at) > NOW - 3600000
end

local function write_account_alert(wishes, kind, account, key, label, amount, threshold)
  local shard = tonumber(string.match(SHARD, "{(%d+)}"))
  local id = text(redis.call("INCR", name("account_alerts_last")) * 256 + shard)
  local log = name("account_alert_log", account)
  local delivery = "pending"
  if wishes.url == "" then delivery = "none" elseif is_suspended(wishes) or told_enough(log) then delivery = "skipped" end
  redis.call("HSET", account_alert_key(id), "id", id, "kind", kind, "account", account, "key", key, "key_label", label,
    "amount", amount, "threshold", threshold, "at", NOW_TEXT, "attempt", "0", "delivery", delivery)
  if delivery == "pending" then redis.call("ZADD", ACCOUNT_ALERT_TURNS, "NX", NOW, account) end
  redis.call("LPUSH", log, id)
  for _, old in ipairs(redis.call("LRANGE", log, MAX_ACCOUNT_ALERTS, -1)) do
    redis.call("DEL", account_alert_key(old))
  end
  redis.call("LTRIM", log, 0, MAX_ACCOUNT_ALERTS - 1)
end

-- Ids of those that wait to be told, oldest first.
local function pending_alerts(account)
  local found = {}
  local log = redis.call("LRANGE", name("account_alert_log", account), 0, -1)
  for i = #log, 1, -1 do
    if redis.call("HGET", account_alert_key(log[i]), "delivery") == "pending" then found[#found + 1] = log[i] end
  end
  return found
end
