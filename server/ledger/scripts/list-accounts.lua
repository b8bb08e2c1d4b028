-- @include lib money account
-- @flags no-writes
-- The accounts of this shard.
local found = {}
for _, id in ipairs(redis.call("SMEMBERS", name("accounts"))) do found[#found + 1] = flatten(read_hash(account_key(id))) end
return found
