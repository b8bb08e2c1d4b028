-- @include lib money responses account key hold-row idempotency alert account-alert limit-alert
-- See CallLedger.hold. Returns outcome, then what belongs to it.
local id, payer_kind, payer, permission, model, provider, most, least_amount, own_most, own_least, lease_ms, call_hash,
  fingerprint = unpack(ARGV, 2)
local WINDOW_MS = 60000
local SWEEP_BATCH = 200

local function includes(list, word)
  for _, member in ipairs(cjson.decode(list)) do
    if member == word then return true end
  end
  return false
end

local function find_payer()
  local key
  if payer_kind == "key" then
    local key_id = key_of_secret(payer)
    key = key_id and load_key(key_id)
    if not key then return nil end
  end
  local account = key and key.account or payer
  local purse = redis.call("HMGET", account_key(account), "balance", "held")
  if not purse[1] then return nil end
  return { key = key, account = account, balance = purse[1], held = purse[2] }
end

local function refuse(key)
  local status = status_of(key)
  if status ~= "active" then return { status } end
  if not includes(key.permissions, permission) then return { "not_permitted" } end
  if key.models ~= "" and model ~= "" and not includes(key.models, model) then return { "model_not_allowed" } end
  if key.providers ~= "" and provider ~= "" and not includes(key.providers, provider) then
    return { "provider_not_allowed" }
  end
  return nil
end

local function find_earlier(account)
  local call = find_call(call_id(account, call_hash))
  if not call then return nil end
  if call.fingerprint ~= fingerprint then return { "idempotency_conflict" } end
  if call.captured == "0" then return { "in_progress" } end
  return { "replay", read_response("call:" .. call_id(account, call_hash)) }
end

local function window_of(key)
  local start, count = tonumber(key.window_start), tonumber(key.window_count)
  if NOW >= start + WINDOW_MS or NOW < start then return NOW, 0 end
  return start, count
end

-- limit, remaining, resets_in_ms after so many more requests; false without a limit.
local function rate_of(key, more)
  if not key or key.rpm == "" then return false end
  local start, count = window_of(key)
  return { key.rpm, text(tonumber(key.rpm) - count - more), text(start + WINDOW_MS - NOW) }
end

local function own_key(account)
  if provider == "" or own_most == "" then return false end
  return redis.call("HGET", name("provider_keys", account), provider)
end

-- What can be set aside, at most `upper`; or nil, and which purse is too short for `lower`.
local function affordable(found, upper, lower)
  local key = found.key
  local of_account = subtract(found.balance, found.held)
  local limited = key and key.spend_limit ~= ""
  local of_key = of_account
  if limited then of_key = subtract(subtract(key.spend_limit, spent_now(key)), key.held) end
  if is_below(of_key, "0") then of_key = "0" end
  local amount = least(of_key, of_account)
  if not is_below(amount, lower) then return least(amount, upper) end
  if not limited or not is_below(of_key, of_account) then return nil, { "insufficient_credits", lower, amount } end
  return nil, { "key_limit_reached", lower, amount, key.spend_limit, key.limit_reset, NOW_TEXT }
end

-- Not of a key that has calls under way: they may leave more of its limit than is free now. Nor of one whose call is too much by far.
local function tell_of_limit(key)
  local spent = spent_now(key)
  if tonumber(key.running) == 0 and not is_below(spent, key.limit_80) then tell_limit_reached(key, spent) end
end

local function held(found, amount, rate, own)
  local key = found.key
  return { "held", found.account, key and key.id or "", key and key.label or "", amount, rate, own }
end

local function admit(found)
  local key, account = found.key, found.account
  local refusal = key and refuse(key)
  if refusal then return refusal end
  local earlier = call_hash ~= "" and find_earlier(account)
  if earlier then return earlier end
  local rate = rate_of(key, 1)
  if rate and tonumber(rate[2]) < 0 then
    rate[2] = "0"
    return { "rate_limited", rate }
  end
  if key and key.concurrency ~= "" and tonumber(key.running) >= tonumber(key.concurrency) then
    return { "too_many_concurrent", key.concurrency }
  end
  local own = own_key(account)
  local amount, short = affordable(found, own and own_most or most, own and own_least or least_amount)
  if not amount then
    if short[1] == "key_limit_reached" then tell_of_limit(key) end
    return short
  end
  local call = call_hash ~= "" and call_id(account, call_hash) or ""
  if call ~= "" then begin_call(call, fingerprint, id, "0") end
  redis.call("HSET", hold_key(id), "account", account, "key", key and key.id or "", "amount", amount, "idempotency", call)
  write_lease(id, account, lease_ms)
  redis.call("HSET", account_key(account), "held", add(found.held, amount))
  if key then
    local start, count = window_of(key)
    redis.call("HSET", key_key(key.id), "held", add(key.held, amount), "running", text(tonumber(key.running) + 1),
      "last_used_at", NOW_TEXT, "window_start", text(start), "window_count", text(count + 1))
  end
  return held(found, amount, rate, own)
end

local found = find_payer()
if not found then return { "unknown" } end
local known = redis.call("HGET", hold_key(id), "amount")
if known then
  -- Its answer was lost on the way: applied once, and held for another lease.
  write_lease(id, found.account, lease_ms)
  return held(found, known, rate_of(found.key, 0), own_key(found.account))
end
-- Frees what lapsed in batches, until the call is admitted: nobody is refused for what a call that is gone still holds.
while true do
  local stale = redis.call("ZRANGEBYSCORE", account_holds(found.account), "-inf", NOW_TEXT, "LIMIT", 0, SWEEP_BATCH)
  for _, hold in ipairs(stale) do free_hold(hold) end
  if #stale > 0 then found = find_payer() end
  local outcome = admit(found)
  if outcome[1] == "held" or #stale < SWEEP_BATCH then return outcome end
end
