-- @include lib
-- See SessionLedger.useOnce.
local wallet, key, ttl_ms = unpack(ARGV, 2)
local used = name("used", wallet, key)
local expires_at = redis.call("GET", used)
if expires_at and tonumber(expires_at) > NOW then return "again" end
redis.call("SET", used, text(NOW + tonumber(ttl_ms)), "PX", ttl_ms)
return "first"
