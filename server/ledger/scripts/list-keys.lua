-- @include lib key
-- @flags no-writes
-- The keys of one account of this shard, or of all ("").
local accounts = ARGV[2] == "" and redis.call("SMEMBERS", name("accounts")) or { ARGV[2] }
local found = {}
for _, account in ipairs(accounts) do
  for _, id in ipairs(redis.call("LRANGE", name("keys", account), 0, -1)) do found[#found + 1] = flatten(load_key(id)) end
end
return { found, NOW }
