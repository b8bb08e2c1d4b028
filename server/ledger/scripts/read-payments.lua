-- @include lib money responses account payment
-- @flags no-writes
-- Reads these payments of this shard, without those that are gone. Returns the records and the time.
local found = {}
for i = 2, #ARGV do
  local row = load_payment(ARGV[i])
  if row then found[#found + 1] = flatten(row) end
end
return { found, NOW }
