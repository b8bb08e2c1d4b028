-- @include lib money responses account payment
-- @flags no-writes
-- Reads one payment.
local row = load_payment(ARGV[2])
if not row then return false end
return { flatten(row), NOW }
