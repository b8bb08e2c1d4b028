-- @include lib responses
-- @flags allow-oom
-- Drops expired answers; returns how many.
return drop_expired(500)
