-- @include lib alert
-- @flags allow-oom
-- Leases those of these alerts that are due.
local lease_ms = tonumber(ARGV[2])
local found = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local due = redis.call("ZSCORE", ALERTS, id)
  if due and tonumber(due) <= NOW then
    redis.call("HINCRBY", name("alert", id), "attempt", 1)
    redis.call("ZADD", ALERTS, NOW + lease_ms, id)
    found[#found + 1] = flatten(read_hash(name("alert", id)))
  end
end
return found
