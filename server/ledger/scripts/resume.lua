-- @include lib money responses account payment
-- @flags allow-oom
-- See Ledger.resume.
local id, fingerprint, lease_ms = unpack(ARGV, 2)
local row = load_payment(id)
if not row or row.state ~= "settled" or row.fingerprint ~= fingerprint or is_leased(row) then return false end
local taken = take_over(row, lease_ms)
return { flatten(taken), NOW }
