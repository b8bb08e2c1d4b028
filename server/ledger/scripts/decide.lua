-- @include lib money responses account payment
-- @flags allow-oom
-- The chain's verdict on a record that was taken by take-undecided; drops the lease. A late landing with a beneficiary is settled
-- first, which nobody can claim anew, and keeps its lease until credit.lua ends it.
local id, fence, verdict, tx, reason, strike_ms = unpack(ARGV, 2)
local row = held(id, fence, "unknown", "released")
if not row or (row.state == "released" and row.watched == "0") then return "lost" end
local changes = { lease_until = "", updated_at = NOW }
if verdict == "settled" and row.state == "unknown" then
  changes.state, changes.tx, changes.reason = "settled", tx, ""
elseif verdict == "settled" and beneficiary_of(row) then
  return elsewhere(put(row, { state = "settled", tx = tx, watched = "0", updated_at = NOW }))
elseif verdict == "settled" then
  changes.state, changes.tx, changes.watched = "credited", tx, "0"
elseif verdict == "absent" and row.state == "unknown" then
  drop_identifier(row)
  changes.state, changes.reason, changes.identifier = "released", reason, ""
  strike(row.payer, tonumber(strike_ms))
elseif verdict == "absent" then
  changes.watched = "0"
end
local decided = put(row, changes)
if decided.state == "credited" then credit_owed(decided) end
return "ok"
