-- @include lib money responses account payment
-- @flags allow-oom
-- See Ledger.resume.
local id, fingerprint, lease_ms, stands_in_for = unpack(ARGV, 2)
local row = load_payment(id)
if not row or row.state ~= "settled" or row.fingerprint ~= fingerprint or is_leased(row) then return false end
-- A list in the record says what goes when it is trimmed.
if redis.call("GET", stand_in_key(stands_in_for)) ~= id then
  redis.call("SET", stand_in_key(stands_in_for), id)
  redis.call("HSET", payment_key(id), "stands_in_for", (row.stands_in_for or "") .. stands_in_for .. " ")
end
local taken = take_over(row, lease_ms)
return { flatten(taken), NOW }
