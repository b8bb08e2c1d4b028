-- Usage records: a stream for each shard, whose ids are micro-seconds. Ids end in the shard's number, so that no two shards
-- ever give the same.
local USAGE = name("usage")
local SHARDS = 256
-- How long it is known that a hold ended: longer than anybody tries again to end it.
local ENDED_MS = 1800000

local function next_usage_id()
  local shard = tonumber(string.match(SHARD, "{(%d+)}"))
  local last = tonumber(redis.call("GET", name("usage", "last")) or "0")
  local id = math.floor(NOW * 1000 / SHARDS) * SHARDS + shard
  if id <= last then id = last + SHARDS end
  redis.call("SET", name("usage", "last"), text(id))
  return text(id)
end

local function ended_key(hold)
  return name("ended", hold)
end

-- `facts`: JSON, read by the gateway alone. `hold` "": a call that no hold paid for.
local function write_usage(hold, account, key, facts, charged, shortfall, call)
  redis.call("XADD", USAGE, next_usage_id() .. "-0", "hold", hold, "at", NOW_TEXT, "account", account, "key", key,
    "charged", charged, "shortfall", shortfall, "facts", facts)
  if hold ~= "" then redis.call("SET", ended_key(hold), charged .. "," .. shortfall .. "," .. call, "PX", ENDED_MS) end
end

-- What an ended hold came to: charged, shortfall, its idempotency key's call; nil if it has not ended.
local function find_ended(hold)
  local ended = redis.call("GET", ended_key(hold))
  if not ended then return nil end
  return string.match(ended, "^(%d+),(%d+),(.*)$")
end
