-- @include lib money responses account payment
-- @flags allow-oom
-- open | settling -> released. Frees the identifier.
local id, fence, reason, watched, strike_ms = unpack(ARGV, 2)
local row = held(id, fence, "open", "settling")
if not row then return "lost" end
drop_identifier(row)
put(row, {
  state = "released", reason = reason, watched = (watched == "1" or row.watched == "1") and "1" or "0", identifier = "",
  lease_until = "", updated_at = NOW,
})
strike(row.payer, tonumber(strike_ms))
return "ok"
