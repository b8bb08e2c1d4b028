-- @include lib money account
-- @flags no-writes
local row = read_hash(account_key(ARGV[2]))
return row and flatten(row) or false
