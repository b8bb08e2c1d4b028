-- @include lib money account
local id, label = unpack(ARGV, 2)
if redis.call("EXISTS", account_key(id)) == 1 then return "exists" end
redis.call("HSET", account_key(id), "id", id, "name", label, "balance", "0", "held", "0", "created_at", NOW_TEXT)
redis.call("SADD", name("accounts"), id)
return "created"
