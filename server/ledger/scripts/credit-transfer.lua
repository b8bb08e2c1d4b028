-- @include lib money responses account payment
-- See Ledger.creditTransfer. One with a beneficiary is settled first, under a lease, until credit.lua ends it.
local id, payer, amount, asset, pay_to, network, memo, fee_payer, tx, reason, lease_ms, asset_amount = unpack(ARGV, 2)
local row = load_payment(id)
if not row and redis.call("SISMEMBER", TRIMMED, id) == 1 then return "recorded" end
if row and row.state == "credited" then return "repeated" end
if row and ((row.state ~= "released" and row.state ~= "open") or is_leased(row)) then return "recorded" end
local credited
if row then
  drop_identifier(row)
  if beneficiary_of(row) then
    return elsewhere(put(row, {
      state = "settled", fence = tonumber(row.fence) + 1, tx = tx, reason = reason, watched = "0", identifier = "",
      lease_until = NOW + tonumber(lease_ms), updated_at = NOW,
    }))
  end
  credited = put(row, {
    state = "credited", fence = tonumber(row.fence) + 1, tx = tx, reason = reason, watched = "0", identifier = "",
    lease_until = "", updated_at = NOW,
  })
else
  credited = insert({
    id = id, state = "credited", fence = 1, lease_until = "", fingerprint = "", payer = payer, amount = amount, asset = asset,
    pay_to = pay_to, network = network, x402_version = "2", route = "", memo = memo, fee_payer = fee_payer, claim_height = "",
    tx = tx, reason = reason, watched = "0", orphaned = "0", servings = "0", identifier = "",
    beneficiary = "", asset_amount = asset_amount, topup = "0", created_at = NOW, updated_at = NOW,
  })
end
return credit_owed(credited) == "credited" and "credited" or "repeated"
