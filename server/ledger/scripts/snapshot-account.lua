-- @include lib money account key hold-row
-- @flags no-writes
-- What is kept as a sum for an account, and where its journal ends, at one moment: account, id of the last entry, its keys, and
-- what its open holds add up to, in all and by key.
local id = ARGV[2]
local account = read_hash(account_key(id))
if not account then return false end
local last = redis.call("XREVRANGE", name("journal", id), "+", "-", "COUNT", 1)
local keys = {}
for _, key in ipairs(redis.call("LRANGE", name("keys", id), 0, -1)) do
  local found = redis.call("HMGET", key_key(key), "held", "usage")
  keys[#keys + 1] = { key, found[1], found[2] }
end
local total, by_key = "0", {}
for _, hold in ipairs(redis.call("ZRANGE", account_holds(id), 0, -1)) do
  local found = redis.call("HMGET", hold_key(hold), "amount", "key")
  total = add(total, found[1])
  by_key[found[2]] = add(by_key[found[2]] or "0", found[1])
end
return { flatten(account), last[1] and last[1][1] or "0-0", keys, total, flatten(by_key),
  flatten(read_hash(name("exported", id)) or {}) }
