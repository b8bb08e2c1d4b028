-- @include lib key
-- @flags allow-oom
-- For ever; repeating it changes nothing. Returns key, now.
local key = load_key(ARGV[2])
if not key then return false end
if key.revoked_at == "" then redis.call("HSET", key_key(key.id), "revoked_at", NOW_TEXT) end
return { flatten(load_key(key.id)), NOW }
