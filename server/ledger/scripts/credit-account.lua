-- @include lib money account
-- Adds money once for each (account, reference). Returns outcome and balance.
local account, amount, reference, kind = unpack(ARGV, 2)
if redis.call("EXISTS", account_key(account)) == 0 then return { "not_found", "0" } end
return { credit(account, amount, reference, kind) }
