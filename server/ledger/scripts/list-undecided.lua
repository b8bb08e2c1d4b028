-- @include lib money responses account payment
-- @flags no-writes
-- Undecided records of this shard without a live lease, then watched ones; those longest unchanged first: ids, each with its place in
-- that order.
local limit = tonumber(ARGV[2])
local found = {}
local from = 0
while #found < 2 * limit do
  local ids = redis.call("ZRANGE", UNDECIDED, from, from + 99, "WITHSCORES")
  if #ids == 0 then break end
  from = from + #ids / 2
  for i = 1, #ids, 2 do
    local lease_until = redis.call("HGET", payment_key(ids[i]), "lease_until")
    if lease_until and not is_leased({ lease_until = lease_until }) and #found < 2 * limit then
      found[#found + 1] = ids[i]
      found[#found + 1] = ids[i + 1]
    end
  end
end
return found
