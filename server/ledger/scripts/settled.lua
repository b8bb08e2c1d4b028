-- @include lib money responses account payment
-- @flags allow-oom
-- settling -> settled.
local id, fence, tx = unpack(ARGV, 2)
local row = held(id, fence, "settling")
if not row then return "lost" end
put(row, { state = "settled", tx = tx, watched = "0", updated_at = NOW })
return "ok"
