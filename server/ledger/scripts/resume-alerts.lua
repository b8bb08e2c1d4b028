-- @include lib account-alert
local settings = alert_settings_key(ARGV[2])
if redis.call("EXISTS", settings) == 1 then redis.call("HSET", settings, "failures", "0") end
return false
