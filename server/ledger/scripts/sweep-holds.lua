-- @include lib money responses account key hold-row idempotency
-- @flags allow-oom
-- Frees holds of this shard whose lease is over; forgets idempotency keys whose day is, and answers whose time is.
local stale = redis.call("ZRANGEBYSCORE", HOLDS, "-inf", NOW_TEXT, "LIMIT", 0, 200)
for _, id in ipairs(stale) do free_hold(id) end
forget_calls(200)
drop_expired(200)
return #stale
