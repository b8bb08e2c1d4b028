-- @include lib export-cursor
-- @flags allow-oom
-- Marks the usage of this shard as exported up to an id.
local id = ARGV[2]
local before = redis.call("GET", USAGE_EXPORTED) or "0"
if tonumber(id) > tonumber(before) then redis.call("SET", USAGE_EXPORTED, id) end
return false
