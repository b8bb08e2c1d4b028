-- Tells that a key's limit is used up, the operator and an account that wishes it: when all of it is spent, or a call is refused because
-- the rest is too little for it, whichever is first. Once for each limit and period.
local function tell_limit_reached(key, spent)
  local told = text(period_start(key.limit_reset)) .. ":" .. key.spend_limit
  if key.limit_told == told then return end
  redis.call("HSET", key_key(key.id), "limit_told", told)
  local wishes = wishes_of(key.account)
  write_alert("key_limit_100", key.account, key.id, key.label, spent, key.spend_limit)
  if wishes and wishes.key_100 == "1" then
    write_account_alert(wishes, "key_limit_100", key.account, key.id, key.label, spent, key.spend_limit)
  end
end
