-- @include lib
-- See Ledger.ping.
redis.call("SET", name("pinged_at"), NOW_TEXT)
return false
