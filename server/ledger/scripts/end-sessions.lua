-- @include lib session
return redis.call("DEL", sessions_key(ARGV[2]))
