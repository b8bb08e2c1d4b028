-- @include lib money responses account key hold-row idempotency usage
-- @flags allow-oom
-- See CallLedger.refund.
local id, account, key_id, facts = unpack(ARGV, 2)
local freed = free_hold(id)
local charged, _, call = find_ended(id)
if freed or not charged then
  write_usage(id, account, key_id, facts, "0", "0", "")
  return "freed"
end
if call ~= "" and redis.call("HGET", name("call", call), "hold") == id then
  if read_response("call:" .. call) then return "answered" end
  forget_call(call)
end
if charged == "0" then return "freed" end
if credit(account, charged, "refund:" .. id, "credit", key_id) == "credited" then
  local key = load_key(key_id)
  if key then
    local spent = is_below(key.spent, charged) and "0" or subtract(key.spent, charged)
    redis.call("HSET", key_key(key_id), "usage", subtract(key.usage, charged), "spent", spent)
  end
end
return "refunded"
