-- @include lib money responses account key hold-row usage
-- @flags allow-oom
-- Frees the hold and its idempotency key, and writes the usage record.
local id, account, key_id, facts = unpack(ARGV, 2)
local freed = free_hold(id)
if not freed and find_ended(id) then return "gone" end
write_usage(id, account, key_id, facts, "0", "0", "")
return freed and "released" or "gone"
