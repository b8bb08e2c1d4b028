-- @include lib responses
-- Drops expired answers; returns how many.
return drop_expired(500)
