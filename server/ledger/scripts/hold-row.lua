-- Open holds: one hash each, and in two indexes by the end of its lease.
local HOLDS = name("holds")
local IDEMPOTENT = name("idempotent")

local function hold_key(id)
  return name("hold", id)
end

local function account_holds(account)
  return name("holds", account)
end

local function write_lease(id, account, lease_ms)
  redis.call("ZADD", HOLDS, NOW + tonumber(lease_ms), id)
  redis.call("ZADD", account_holds(account), NOW + tonumber(lease_ms), id)
end

-- Deletes a hold and returns what it was; what it held is the caller's to give back.
local function remove_hold(id)
  local hold = read_hash(hold_key(id))
  if not hold then return nil end
  redis.call("DEL", hold_key(id))
  redis.call("ZREM", HOLDS, id)
  redis.call("ZREM", account_holds(hold.account), id)
  return hold
end

local function give_back(hold)
  local held = redis.call("HGET", account_key(hold.account), "held")
  redis.call("HSET", account_key(hold.account), "held", subtract(held, hold.amount))
  if hold.key == "" then return end
  local of_key = redis.call("HGET", key_key(hold.key), "held")
  redis.call("HSET", key_key(hold.key), "held", subtract(of_key, hold.amount))
  redis.call("HINCRBY", key_key(hold.key), "running", -1)
end

-- Frees a hold as if it had never been: nothing is charged, and its idempotency key may be used again.
local function free_hold(id)
  local hold = remove_hold(id)
  if not hold then return false end
  give_back(hold)
  if hold.idempotency ~= "" then
    local call = redis.call("HMGET", name("call", hold.idempotency), "hold", "captured")
    if call[1] == id and call[2] == "0" then
      redis.call("DEL", name("call", hold.idempotency))
      redis.call("ZREM", IDEMPOTENT, hold.idempotency)
    end
  end
  return true
end
