-- @include lib money account key
-- @flags no-writes
-- The key whose secret this is, and its account.
local id = key_of_secret(ARGV[2])
local key = id and load_key(id)
local account = key and read_hash(account_key(key.account))
if not account then return false end
return { flatten(key), flatten(account), NOW }
