-- Idempotency keys of calls, the account's: every key of an account may repeat its calls. Their answers are responses.
local REPEATABLE_MS = 86400000

local function call_id(account, hash)
  return account .. "\n" .. hash
end

-- The call that has the idempotency key, unless its day is over.
local function find_call(id)
  local call = read_hash(name("call", id))
  if not call or tonumber(call.expires_at) <= NOW then return nil end
  return call
end

local function forget_call(id)
  drop_response("call:" .. id)
  redis.call("DEL", name("call", id))
  redis.call("ZREM", IDEMPOTENT, id)
end

local function forget_calls(limit)
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", IDEMPOTENT, "-inf", NOW_TEXT, "LIMIT", 0, limit)) do forget_call(id) end
end

local function begin_call(id, fingerprint, hold, captured)
  -- More than one goes for each that comes, so that they end however busy the account is.
  forget_calls(4)
  drop_response("call:" .. id)
  redis.call("HSET", name("call", id), "fingerprint", fingerprint, "hold", hold, "captured", captured, "expires_at",
    text(NOW + REPEATABLE_MS))
  redis.call("ZADD", IDEMPOTENT, NOW + REPEATABLE_MS, id)
end
