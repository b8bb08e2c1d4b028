-- @include lib money responses account payment
-- @flags no-writes
-- Payments of this shard that are not exported as they are now, after an id ("": the start). Returns pairs of record and
-- version, and the time.
local after, limit = unpack(ARGV, 2)
local found = {}
for _, id in ipairs(redis.call("ZRANGEBYLEX", UNEXPORTED, after == "" and "-" or "(" .. after, "+", "LIMIT", 0, limit)) do
  local row = load_payment(id)
  found[#found + 1] = { flatten(row), version_of(row) }
end
return { found, NOW }
