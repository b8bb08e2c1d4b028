-- Alerts, due at once; the gateway's worker leases and ends them.
local ALERTS = name("alerts")

local function write_alert(kind, account, key, label, amount, threshold)
  local shard = tonumber(string.match(SHARD, "{(%d+)}"))
  local id = text(redis.call("INCR", name("alerts", "last")) * 256 + shard)
  redis.call("HSET", name("alert", id), "id", id, "kind", kind, "account", account, "key", key, "key_label", label,
    "amount", amount, "threshold", threshold, "at", NOW_TEXT, "attempt", "0")
  redis.call("ZADD", ALERTS, NOW, id)
end
