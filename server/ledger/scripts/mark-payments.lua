-- @include lib money responses account payment
-- @flags allow-oom
-- Marks payments as exported that still are the version that was written: pairs of id and version.
for i = 2, #ARGV, 2 do
  local id, version = ARGV[i], ARGV[i + 1]
  local row = load_payment(id)
  if row and version_of(row) == version then
    redis.call("ZREM", UNEXPORTED, id)
    redis.call("HSET", payment_key(id), "exported", version)
    if is_finished(row) then redis.call("ZADD", TRIMMABLE, row.updated_at, id) end
  end
end
return false
