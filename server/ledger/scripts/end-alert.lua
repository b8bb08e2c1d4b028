-- @include lib alert
-- @flags allow-oom
-- Told, or given up; or (with a delay) due again later.
local id, delay_ms = unpack(ARGV, 2)
if delay_ms == "" then
  redis.call("ZREM", ALERTS, id)
  redis.call("DEL", name("alert", id))
else
  redis.call("ZADD", ALERTS, "XX", NOW + tonumber(delay_ms), id)
end
return false
