-- @include lib session
-- @flags allow-oom
return redis.call("HDEL", sessions_key(ARGV[2]), ARGV[3])
