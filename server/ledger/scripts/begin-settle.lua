-- @include lib money responses account payment
-- @flags allow-oom
-- open -> settling. The last moment at which no money has moved: a twin that turned up since the claim is found here.
local id, fence, lease_ms = unpack(ARGV, 2)
local row = held(id, fence, "open")
if not row then return "lost" end
if find_twin(row.payer, row.fingerprint, id) then return "twin" end
put(row, { state = "settling", lease_until = NOW + tonumber(lease_ms), updated_at = NOW })
return "ok"
