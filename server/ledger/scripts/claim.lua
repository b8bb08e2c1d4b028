-- @include lib money responses account payment
-- See Ledger.claim. Returns outcome, fence, upfront, response, record, and the time: of a claim its record's beginning, else now.
local id, fingerprint, payer, amount, asset, pay_to, network, version, route, memo, fee_payer, height, identifier, admit_new,
  lease_ms, max_in_flight, beneficiary, asset_amount, topup = unpack(ARGV, 2)

local function answer(outcome, row, fence, response)
  return { outcome, fence or "0", "0", response or false, row and flatten(row) or false, NOW }
end

-- From the record of this very payment; nil: it holds no money and may be claimed anew.
local function recorded(row)
  local same = row.fingerprint == fingerprint
  local state = row.state
  if state == "released" or (state == "open" and not is_leased(row)) then return nil end
  if state == "unknown" or (state == "settling" and not is_leased(row)) then return answer("undecided", row) end
  if state == "credited" then return answer("credited", row) end
  if not same then return answer("used", row) end
  if state == "delivered" then return answer("delivered", row, nil, payment_response(row)) end
  if is_leased(row) then return answer("in_progress", row) end
  local taken = take_over(row, lease_ms)
  return answer("resumed", taken, taken.fence, payment_response(taken))
end

local function open(before)
  local row = {
    id = id, state = "open", lease_until = NOW + tonumber(lease_ms), fingerprint = fingerprint, payer = payer,
    amount = amount, asset = asset, pay_to = pay_to, network = network, x402_version = version, route = route, memo = memo,
    fee_payer = fee_payer, claim_height = height, tx = "", reason = "", orphaned = "0", servings = "0",
    identifier = identifier, beneficiary = beneficiary, asset_amount = asset_amount, topup = topup, updated_at = NOW, fence = 1, watched = "0", created_at = NOW,
  }
  if before then
    row.fence = tonumber(before.fence) + 1
    -- What was refused before may still land, whatever becomes of this claim.
    row.watched, row.created_at = before.watched, before.created_at
    if before.identifier ~= identifier then drop_identifier(before) end
  end
  local opened = before and put(before, row) or insert(row)
  if identifier ~= "" then redis.call("SET", name("identifier", identifier), id) end
  return opened
end

local before = load_payment(id)
if not before and redis.call("SISMEMBER", TRIMMED, id) == 1 then return answer("trimmed") end
local found = before and recorded(before)
if found then return found end

local holder_id = identifier ~= "" and redis.call("GET", name("identifier", identifier))
local holder = holder_id and holder_id ~= id and load_payment(holder_id) or nil
if holder and not (holder.state == "open" and not is_leased(holder)) then
  if holder.fingerprint ~= fingerprint then return answer("identifier_conflict", holder) end
  return answer("identifier_replay", holder, nil, payment_response(holder))
end
local twin = find_twin(payer, fingerprint, id)
if twin then return answer("twin", twin, nil, payment_response(twin)) end
if admit_new ~= "1" then return answer("not_admitted") end
local in_flight = name("in_flight", payer)
if redis.call("ZCOUNT", in_flight, "(" .. NOW_TEXT, "+inf") >= tonumber(max_in_flight) then
  return answer("too_many_in_flight")
end
if holder then
  drop_identifier(holder)
  -- Whoever stood still with it must not settle under this identifier after all.
  put(holder, { identifier = "", lease_until = "" })
end
local opened = open(before)
local upfront_until = redis.call("GET", name("upfront", payer))
local upfront = upfront_until and tonumber(upfront_until) > NOW
return { "claimed", opened.fence, upfront and "1" or "0", false, false, tonumber(opened.created_at) }
