-- @include lib money responses account payment
-- @flags allow-oom
-- Deletes payments that are finished, exported as they are, and older than an age: a bounded number. Ids of those whose money
-- moved are remembered. Returns how many were deleted and how many were looked at.
local age_ms, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local old = redis.call("ZRANGEBYSCORE", TRIMMABLE, "-inf", text(NOW - age_ms), "LIMIT", 0, limit)
local deleted = 0
for _, id in ipairs(old) do
  redis.call("ZREM", TRIMMABLE, id)
  local row = load_payment(id)
  if row and is_finished(row) and row.exported == version_of(row) then
    drop_response("payment:" .. id)
    drop_identifier(row)
    for other in string.gmatch(row.stands_in_for or "", "%S+") do redis.call("DEL", stand_in_key(other)) end
    redis.call("ZREM", name("payments"), id)
    redis.call("DEL", payment_key(id))
    if row.state ~= "released" then redis.call("SADD", TRIMMED, id) end
    deleted = deleted + 1
  end
end
return { deleted, #old }
