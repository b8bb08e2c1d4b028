-- @include lib money account account-alert
-- See AccountAlertLedger.setAlertSettings. `which`: keep, none or set.
local account, low_balance, key_80, key_100, which, url, master_key, sealed = unpack(ARGV, 2)
if redis.call("EXISTS", account_key(account)) == 0 then return "not_found" end
local settings = alert_settings_key(account)
if redis.call("EXISTS", settings) == 0 and which == "keep" then which = "none" end
redis.call("HSET", settings, "low_balance", low_balance, "key_80", key_80, "key_100", key_100)
if which == "set" then
  redis.call("HSET", settings, "url", url, "master_key", master_key, "sealed", sealed, "webhook_at", NOW_TEXT, "failures", "0")
elseif which == "none" then
  redis.call("HSET", settings, "url", "", "master_key", "", "sealed", "", "webhook_at", "", "failures", "0")
end
return "stored"
