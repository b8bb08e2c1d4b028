-- @include lib money key
-- @flags allow-oom
-- Replaces settings that are given as pairs of names and values; what was spent stays spent, also when the limit starts again
-- at other times from now on. Returns key, now.
local id = ARGV[2]
local key = load_key(id)
if not key then return false end
local spent = spent_now(key)
if #ARGV > 2 then redis.call("HSET", key_key(id), unpack(ARGV, 3)) end
local reset = redis.call("HGET", key_key(id), "limit_reset")
redis.call("HSET", key_key(id), "spent", spent, "period", text(period_start(reset)))
return { flatten(load_key(id)), NOW }
