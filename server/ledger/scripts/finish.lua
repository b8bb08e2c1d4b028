-- @include lib money responses account payment
-- @flags allow-oom
-- settled -> delivered, or (park) settled without a lease. Keeps the response if there is one.
local id, fence, state, sealed, ttl, budget = unpack(ARGV, 2)
local row = held(id, fence, "settled")
if not row then return "lost" end
put(row, { state = state, lease_until = "", updated_at = NOW })
keep_response("payment:" .. id, sealed, ttl, budget)
return "ok"
