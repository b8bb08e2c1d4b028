-- @include lib usage export-cursor
-- @flags no-writes
-- Usage records of this shard that are not exported, oldest first, after an id ("": the start).
local after, limit = unpack(ARGV, 2)
if after == "" then after = redis.call("GET", USAGE_EXPORTED) or "0" end
local found = {}
for _, entry in ipairs(redis.call("XRANGE", USAGE, "(" .. after .. "-0", "+", "COUNT", limit)) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  found[#found + 1] = { string.match(entry[1], "^%d+"), fields.at, fields.charged, fields.facts }
end
return found
