-- @include lib key
-- @flags no-writes
local key = load_key(ARGV[2])
return key and { flatten(key), NOW } or false
