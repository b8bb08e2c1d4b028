-- @include lib money responses account payment
-- @flags allow-oom
-- Takes those of these settled records whose lease has been dead for longer than idle_ms.
local idle_ms, lease_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
local found = {}
for i = 4, #ARGV do
  local since = redis.call("ZSCORE", IDLE, ARGV[i])
  if since and tonumber(since) <= NOW - idle_ms then
    local row = load_payment(ARGV[i])
    found[#found + 1] = flatten(put(row, { fence = tonumber(row.fence) + 1, lease_until = NOW + lease_ms }))
  end
end
return { found, NOW }
