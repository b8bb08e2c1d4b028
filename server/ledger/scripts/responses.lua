-- Stored answers, sealed. Their sizes are added up for each shard: past the budget an answer is not stored, and so they can
-- never fill a Redis that evicts nothing.
local EXPIRY = name("responses")
local SIZE = name("responses", "size")
-- What Redis needs to keep an answer, however short it is.
local OVERHEAD = 400

local function response_key(id)
  return name("response", id)
end

local function drop_response(id)
  local size = redis.call("STRLEN", response_key(id))
  if size > 0 then
    redis.call("DEL", response_key(id))
    redis.call("DECRBY", SIZE, size + OVERHEAD)
  end
  redis.call("ZREM", EXPIRY, id)
end

local function drop_expired(limit)
  local expired = redis.call("ZRANGEBYSCORE", EXPIRY, "-inf", NOW_TEXT, "LIMIT", 0, limit)
  for _, id in ipairs(expired) do drop_response(id) end
  return #expired
end

-- In the place of an earlier one. `sealed` "": there is nothing to keep.
local function keep_response(id, sealed, ttl, budget)
  if sealed == "" then return end
  drop_response(id)
  drop_expired(16)
  local size = tonumber(redis.call("GET", SIZE) or "0")
  if size + #sealed + OVERHEAD > tonumber(budget) then return end
  redis.call("SET", response_key(id), sealed)
  redis.call("INCRBY", SIZE, #sealed + OVERHEAD)
  redis.call("ZADD", EXPIRY, NOW + tonumber(ttl), id)
end

local function read_response(id)
  local expires = redis.call("ZSCORE", EXPIRY, id)
  if not expires or tonumber(expires) <= NOW then return false end
  return redis.call("GET", response_key(id))
end
