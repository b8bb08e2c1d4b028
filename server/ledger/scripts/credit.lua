-- @include lib money responses account payment
-- @flags allow-oom
-- settled -> credited. A response parked earlier goes too: what is owed is not served again.
-- A beneficiary's account is credited before: without `paid` the answer is who is to be. "paid": it is done. "gone": there is no
-- such account, so the payer's wallet account gets it. An empty reason leaves the one that is there.
local id, fence, reason, paid = unpack(ARGV, 2)
local row = held(id, fence, "settled")
if not row then return "lost" end
if beneficiary_of(row) and paid == "" then return elsewhere(row) end
local changes = { state = "credited", lease_until = "", updated_at = NOW }
if reason ~= "" then changes.reason = reason end
if paid == "gone" then changes.beneficiary = "" end
local credited = put(row, changes)
if not beneficiary_of(credited) then credit_owed(credited) end
drop_response("payment:" .. id)
return "ok"
