-- @include lib money responses account key hold-row usage
-- @flags allow-oom
-- Keeps the answer of a call that was captured before it was whole.
local id, sealed, ttl, budget = unpack(ARGV, 2)
local _, _, call = find_ended(id)
if not call or call == "" then return false end
local found = redis.call("HMGET", name("call", call), "hold", "captured")
if found[1] == id and found[2] == "1" then keep_response("call:" .. call, sealed, ttl, budget) end
return false
