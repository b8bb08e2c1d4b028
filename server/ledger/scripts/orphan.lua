-- @include lib money responses account payment
-- @flags allow-oom
-- settling | settled: the client is gone.
local id, fence = unpack(ARGV, 2)
local row = held(id, fence, "settling", "settled")
if not row then return "lost" end
put(row, { orphaned = "1" })
return "ok"
