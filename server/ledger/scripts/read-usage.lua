-- @include lib usage
-- @flags no-writes
-- Usage records of this shard, newest first: those of one account or key, below an id, from a time on. Looks at a bounded
-- number; returns where to go on (false: at the end) and what it found.
local account, key_id, since, before, limit = unpack(ARGV, 2)
limit, since = tonumber(limit), tonumber(since)
local PAGE = 200
local oldest = text(math.max(0, math.floor(since * 1000 / SHARDS) * SHARDS))

-- The next entries of the stream below an id, and the last id that was looked at (nil: there are no more).
local function page_of_all(upper)
  local entries = redis.call("XREVRANGE", USAGE, "(" .. upper .. "-0", oldest .. "-0", "COUNT", PAGE)
  local last = entries[#entries]
  return entries, last and string.match(last[1], "^%d+")
end

local function page_of_account(upper)
  local ids = redis.call("ZREVRANGEBYSCORE", usage_of(account), "(" .. upper, oldest, "LIMIT", 0, PAGE)
  local entries = {}
  for _, id in ipairs(ids) do
    entries[#entries + 1] = redis.call("XRANGE", USAGE, id .. "-0", id .. "-0")[1]
  end
  return entries, ids[#ids]
end

local page = account == "" and page_of_all or page_of_account
local found, upper = {}, before
for _ = 1, 5 do
  local entries, last = page(upper)
  if not last then return { false, found } end
  upper = last
  for _, entry in ipairs(entries) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    if (key_id == "" or fields.key == key_id) and tonumber(fields.at) >= since then
      found[#found + 1] = { string.match(entry[1], "^%d+"), fields.at, fields.charged, fields.facts }
      if #found == limit then return { false, found } end
    end
  end
end
return { upper, found }
