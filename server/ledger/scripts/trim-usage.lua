-- @include lib usage export-cursor
-- @flags allow-oom
-- Deletes usage records that are exported and older than an age: a bounded number. Returns how many.
local age_ms, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local upto = redis.call("GET", USAGE_EXPORTED)
if not upto then return 0 end
local last, count = nil, 0
for _, entry in ipairs(redis.call("XRANGE", USAGE, "-", upto .. "-0", "COUNT", limit)) do
  local at
  for i = 1, #entry[2], 2 do if entry[2][i] == "at" then at = tonumber(entry[2][i + 1]) end end
  if at > NOW - age_ms then break end
  last, count = entry[1], count + 1
end
if last then trim_stream(USAGE, last) end
return count
