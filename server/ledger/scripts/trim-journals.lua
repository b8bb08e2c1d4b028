-- @include lib money account export-cursor
-- @flags allow-oom
-- Deletes entries of these accounts' journals that are exported and older than an age, a bounded number of each, and keeps
-- their sums. Returns how many of each account.
local age_ms, limit = tonumber(ARGV[2]), tonumber(ARGV[3])

local function trim(account)
  local before = read_hash(exported_key(account))
  if not before or not before.upto then return 0 end
  local sums, last, count = { balance = before.balance or "0" }, nil, 0
  for _, entry in ipairs(redis.call("XRANGE", name("journal", account), "-", before.upto, "COUNT", limit)) do
    local fields = {}
    for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
    if tonumber(fields.at) > NOW - age_ms then break end
    sums.balance = add(sums.balance, fields.amount)
    if fields.key ~= "" then
      local of_key = "key:" .. fields.key
      sums[of_key] = subtract(sums[of_key] or before[of_key] or "0", fields.amount)
    end
    last, count = entry[1], count + 1
  end
  if not last then return 0 end
  trim_stream(name("journal", account), last)
  for field, sum in pairs(sums) do redis.call("HSET", exported_key(account), field, sum) end
  redis.call("HINCRBY", exported_key(account), "trimmed", count)
  return count
end

local trimmed = {}
for i = 4, #ARGV do trimmed[#trimmed + 1] = trim(ARGV[i]) end
return trimmed
