-- @include lib money account
-- @flags allow-oom
-- As credit-account.lua, of money that has moved already: also at maxmemory, or who paid it would wait for it.
local account, amount, reference, kind = unpack(ARGV, 2)
if redis.call("EXISTS", account_key(account)) == 0 then return { "not_found", "0" } end
return { credit(account, amount, reference, kind) }
