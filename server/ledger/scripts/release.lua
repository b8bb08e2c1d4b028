-- @include lib money responses account payment
-- @flags allow-oom
-- open | settling -> released. Frees the identifier; a shorter strike never cuts a longer one.
local id, fence, reason, watched, strike_ms = unpack(ARGV, 2)
local row = held(id, fence, "open", "settling")
if not row then return "lost" end
drop_identifier(row)
put(row, {
  state = "released", reason = reason, watched = (watched == "1" or row.watched == "1") and "1" or "0", identifier = "",
  lease_until = "", updated_at = NOW,
})
strike_ms = tonumber(strike_ms)
if strike_ms > 0 then
  local key = name("upfront", row.payer)
  local earlier = tonumber(redis.call("GET", key) or "0")
  if NOW + strike_ms > earlier then redis.call("SET", key, text(NOW + strike_ms), "PX", strike_ms) end
end
return "ok"
