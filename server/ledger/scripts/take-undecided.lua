-- @include lib money responses account payment
-- @flags allow-oom
-- See Ledger.takeUndecided.
local id, height, lease_ms = unpack(ARGV, 2)
local row = load_payment(id)
if not row or is_leased(row) then return false end
if row.state ~= "unknown" and row.state ~= "settling" and row.watched == "0" then return false end
local changes = { fence = tonumber(row.fence) + 1, lease_until = NOW + tonumber(lease_ms), updated_at = NOW }
if row.claim_height == "" then changes.claim_height = height end
if row.state == "settling" then
  changes.state, changes.reason, changes.watched = "unknown", "lease_expired", "0"
elseif row.state == "open" then
  drop_identifier(row)
  changes.state, changes.identifier = "released", ""
end
return { flatten(put(row, changes)), NOW }
