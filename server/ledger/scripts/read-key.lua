-- @include lib key
local key = load_key(ARGV[2])
return key and { flatten(key), NOW } or false
