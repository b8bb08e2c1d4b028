-- @include lib usage export-cursor
-- @flags allow-oom
-- Deletes usage records that are exported and older than an age: a bounded number. Returns how many.
local age_ms, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local upto = redis.call("GET", USAGE_EXPORTED)
if not upto then return 0 end
local last, count = nil, 0
for _, entry in ipairs(redis.call("XRANGE", USAGE, "-", upto .. "-0", "COUNT", limit)) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  if tonumber(fields.at) > NOW - age_ms then break end
  if fields.account ~= "" then redis.call("ZREM", usage_of(fields.account), (string.match(entry[1], "^%d+"))) end
  last, count = entry[1], count + 1
end
if last then trim_stream(USAGE, last) end
return count
