-- @include lib money responses account payment
-- @flags allow-oom
-- settled -> credited. A response parked earlier goes too: what is owed is not served again.
local id, fence, reason = unpack(ARGV, 2)
local row = held(id, fence, "settled")
if not row then return "lost" end
put(row, { state = "credited", reason = reason, lease_until = "", updated_at = NOW })
credit_owed(row)
drop_response("payment:" .. id)
return "ok"
