-- @include lib money account
-- In the place of an earlier one. `value`: JSON.
local account, provider, value = unpack(ARGV, 2)
if redis.call("EXISTS", account_key(account)) == 0 then return "not_found" end
redis.call("HSET", name("provider_keys", account), provider, value)
redis.call("HSET", name("provider_keys", account, "created"), provider, NOW_TEXT)
return "stored"
