-- @include lib money account
local row = read_hash(account_key(ARGV[2]))
return row and flatten(row) or false
