local function account_key(id)
  return name("account", id)
end

local function journal(account, reference, kind, key, amount, balance)
  redis.call("XADD", name("journal", account), "*", "reference", reference, "kind", kind, "key", key, "amount", amount,
    "balance", balance, "at", NOW_TEXT)
  redis.call("ZADD", name("unexported", "journals"), 0, account)
end

-- Adds money once for each (account, reference): one journal entry and the new balance. Makes the account if there is none.
-- `key`: whose spending it takes back, or nil.
local function credit(account, amount, reference, kind, key)
  local before = redis.call("HGET", account_key(account), "balance")
  local written = redis.call("HGET", name("references", account), reference)
  if written then return written == amount and "repeated" or "conflict", before or "0" end
  local balance = add(before or "0", amount)
  if before then
    redis.call("HSET", account_key(account), "balance", balance)
  else
    redis.call("HSET", account_key(account), "id", account, "name", "", "balance", balance, "held", "0", "created_at", NOW_TEXT)
    redis.call("SADD", name("accounts"), account)
  end
  redis.call("HSET", name("references", account), reference, amount)
  journal(account, reference, kind, key or "", amount, balance)
  return "credited", balance
end
