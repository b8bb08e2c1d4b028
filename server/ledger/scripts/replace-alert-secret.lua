-- @include lib account-alert
local account, master_key, sealed = unpack(ARGV, 2)
local url = redis.call("HGET", alert_settings_key(account), "url")
if not url or url == "" then return 0 end
redis.call("HSET", alert_settings_key(account), "master_key", master_key, "sealed", sealed, "failures", "0")
return 1
