-- @include lib money responses account payment
-- @flags allow-oom
-- settling -> unknown. Drops the lease.
local id, fence, reason, tx = unpack(ARGV, 2)
local row = held(id, fence, "settling")
if not row then return "lost" end
put(row, { state = "unknown", reason = reason, tx = tx, watched = "0", lease_until = "", updated_at = NOW })
return "ok"
