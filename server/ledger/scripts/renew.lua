-- @include lib money responses account payment
-- @flags allow-oom
-- Prolongs leases: a dead one that nobody took over comes back to life, a dropped one does not. Returns the ids that are lost.
local lease_ms = tonumber(ARGV[2])
local lost = {}
for i = 3, #ARGV, 2 do
  local id, fence = ARGV[i], ARGV[i + 1]
  local row = load_payment(id)
  if row and row.fence == fence and row.lease_until ~= "" then
    put(row, { lease_until = NOW + lease_ms })
  else
    lost[#lost + 1] = id
  end
end
return lost
