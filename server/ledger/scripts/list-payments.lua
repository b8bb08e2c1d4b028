-- @include lib money responses account payment
-- @flags no-writes
-- Records of this shard after one, in the order in which they were made. Returns the records, where the last one is, and the time.
local after, limit = unpack(ARGV, 2)
local flat = redis.call("ZRANGEBYSCORE", name("payments"), "(" .. after, "+inf", "WITHSCORES", "LIMIT", 0, limit)
local found = {}
for i = 1, #flat, 2 do found[#found + 1] = flatten(load_payment(flat[i])) end
return { found, flat[#flat] or "", NOW }
