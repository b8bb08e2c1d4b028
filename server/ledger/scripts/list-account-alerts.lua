-- @include lib account-alert
-- Newest first.
local found = {}
for _, id in ipairs(redis.call("LRANGE", name("account_alert_log", ARGV[2]), 0, -1)) do
  found[#found + 1] = flatten(read_hash(account_alert_key(id)))
end
return found
