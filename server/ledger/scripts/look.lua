-- @include lib
-- @flags no-writes
-- Changes nothing and says nothing: only whether this shard can be asked.
return false
