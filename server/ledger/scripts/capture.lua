-- @include lib money responses account key hold-row idempotency usage alert account-alert limit-alert
-- @flags allow-oom
-- See CallLedger.capture. Returns outcome, charged, shortfall.
local id, account, key_id, cost, held_amount, facts, sealed, ttl, budget, low_balance, call_hash, fingerprint = unpack(ARGV, 2)

-- Adds to a key's spending, in the period of this moment, and writes the alerts that this crosses: the operator's, and those that its
-- account wishes (nil: none).
local function spend(key_id_, amount, held, wishes)
  local key = load_key(key_id_)
  if not key then return end
  local earlier = spent_now(key)
  local spent = add(earlier, amount)
  local period = math.max(tonumber(key.period), period_start(key.limit_reset))
  redis.call("HSET", key_key(key_id_), "held", subtract(key.held, held or "0"), "running",
    text(tonumber(key.running) - (held and 1 or 0)), "usage", add(key.usage, amount), "spent", spent, "period", text(period))
  if key.spend_limit == "" then return end
  local function crossed(threshold)
    return is_below(earlier, threshold) and not is_below(spent, threshold)
  end
  if crossed(key.limit_80) then
    write_alert("key_limit_80", key.account, key_id_, key.label, spent, key.spend_limit)
    if wishes and wishes.key_80 == "1" then
      write_account_alert(wishes, "key_limit_80", key.account, key_id_, key.label, spent, key.spend_limit)
    end
  end
  if crossed(key.spend_limit) then tell_limit_reached(key, spent) end
end

-- Takes money from the account, and with it what was held for it (nil: nothing is any more).
local function debit(owner, key, amount, held)
  local purse = redis.call("HMGET", account_key(owner), "balance", "held")
  local before = purse[1] or "0"
  local balance = subtract(before, amount)
  if purse[1] then
    redis.call("HSET", account_key(owner), "balance", balance, "held", subtract(purse[2], held or "0"))
  end
  if amount ~= "0" then journal(owner, "hold:" .. id, "capture", key, negated(amount), balance) end
  local function fell_below(threshold)
    return threshold ~= "" and is_below(balance, threshold) and not is_below(before, threshold)
  end
  if fell_below(low_balance) then write_alert("low_balance", owner, "", "", balance, low_balance) end
  local wishes = amount ~= "0" and wishes_of(owner) or nil
  if wishes and fell_below(wishes.low_balance) then
    write_account_alert(wishes, "low_balance", owner, "", "", balance, wishes.low_balance)
  end
  if key ~= "" then spend(key, amount, held, wishes) end
end

local function mark_captured(call)
  redis.call("HSET", name("call", call), "captured", "1")
  keep_response("call:" .. call, sealed, ttl, budget)
end

-- The hold was swept: the account bears what it still can, and never more than had been held. Nothing, if another call has
-- its idempotency key by now: that one is charged. If none has, the key stands for this call again.
local function capture_swept()
  local charged_before, shortfall_before = find_ended(id)
  if charged_before then return { "repeated", charged_before, shortfall_before } end
  local due = least(cost, held_amount)
  local call = call_hash ~= "" and call_id(account, call_hash) or ""
  local ours = call == "" or not find_call(call)
  local purse = redis.call("HMGET", account_key(account), "balance", "held")
  local available = purse[1] and subtract(purse[1], purse[2]) or "0"
  local charged = ours and least(due, available) or "0"
  local shortfall = subtract(due, charged)
  if charged ~= "0" then debit(account, key_id, charged, nil) end
  local stands = ours and shortfall == "0" and call ~= ""
  write_usage(id, account, key_id, facts, charged, shortfall, stands and call or "")
  if stands then
    begin_call(call, fingerprint, id, "0")
    mark_captured(call)
  end
  return { "captured", charged, shortfall }
end

local hold = remove_hold(id)
if not hold then return capture_swept() end
local charged = least(cost, hold.amount)
debit(hold.account, hold.key, charged, hold.amount)
write_usage(id, account, key_id, facts, charged, "0", hold.idempotency)
if hold.idempotency ~= "" then
  local owner = redis.call("HGET", name("call", hold.idempotency), "hold")
  if owner == id then mark_captured(hold.idempotency) end
end
return { "captured", charged, "0" }
