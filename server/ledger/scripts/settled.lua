-- @include lib money responses account payment
-- @flags allow-oom
-- settling -> settled. Keeps the response, if there is one.
local id, fence, tx, sealed, ttl, budget = unpack(ARGV, 2)
local row = held(id, fence, "settling")
if not row then return "lost" end
put(row, { state = "settled", tx = tx, watched = "0", updated_at = NOW })
keep_response("payment:" .. id, sealed, ttl, budget)
return "ok"
