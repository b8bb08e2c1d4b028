-- @include lib money responses account payment
-- @flags no-writes
-- Undecided records of this shard without a live lease, then watched ones; those longest unchanged first.
local limit = tonumber(ARGV[2])
local found = {}
local from = 0
while #found < limit do
  local ids = redis.call("ZRANGE", UNDECIDED, from, from + 99)
  if #ids == 0 then break end
  from = from + #ids
  for _, id in ipairs(ids) do
    local row = load_payment(id)
    if row and not is_leased(row) and #found < limit then found[#found + 1] = flatten(row) end
  end
end
return { found, NOW }
