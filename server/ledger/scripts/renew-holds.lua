-- @include lib money responses account key hold-row
-- @flags allow-oom
-- Prolongs holds; returns the ids that are gone.
local lease_ms = ARGV[2]
local gone = {}
for i = 3, #ARGV do
  local account = redis.call("HGET", hold_key(ARGV[i]), "account")
  if account then write_lease(ARGV[i], account, lease_ms) else gone[#gone + 1] = ARGV[i] end
end
return gone
