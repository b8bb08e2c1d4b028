-- @include lib session
-- @flags no-writes
return load_session(ARGV[2], ARGV[3]) and 1 or 0
