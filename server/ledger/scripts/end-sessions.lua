-- @include lib session
-- @flags allow-oom
return redis.call("DEL", sessions_key(ARGV[2]))
