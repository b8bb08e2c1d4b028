-- @include lib usage
-- @flags no-writes
-- Usage records of this shard, newest first: those of one account or key, below an id, from a time on. Looks at a bounded
-- number; returns where to go on (false: at the end) and what it found.
local account, key_id, since, before, limit = unpack(ARGV, 2)
limit, since = tonumber(limit), tonumber(since)
local found, upper, seen = {}, "(" .. before .. "-0", 0
local oldest = text(math.max(0, math.floor(since * 1000 / SHARDS) * SHARDS)) .. "-0"
while seen < 2000 do
  local entries = redis.call("XREVRANGE", USAGE, upper, oldest, "COUNT", 200)
  if #entries == 0 then return { false, found } end
  for _, entry in ipairs(entries) do
    seen = seen + 1
    upper = "(" .. entry[1]
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    local fits = (account == "" or fields.account == account) and (key_id == "" or fields.key == key_id)
    if fits and tonumber(fields.at) >= since then
      found[#found + 1] = { string.match(entry[1], "^%d+"), fields.at, fields.charged, fields.facts }
      if #found == limit then return { false, found } end
    end
  end
end
return { string.match(upper, "%d+"), found }
