-- @include lib usage
-- @flags allow-oom
-- The record of a call that no hold paid for.
local account, key_id, facts, charged = unpack(ARGV, 2)
write_usage("", account, key_id, facts, charged, "0", "")
return false
