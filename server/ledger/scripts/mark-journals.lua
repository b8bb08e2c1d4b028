-- @include lib money account export-cursor
-- @flags allow-oom
-- Marks journals as exported up to an entry: pairs of account and id.
for i = 2, #ARGV, 2 do
  local account, entry = ARGV[i], ARGV[i + 1]
  local upto = redis.call("HGET", exported_key(account), "upto") or "0-0"
  if is_later(entry, upto) then
    upto = entry
    redis.call("HSET", exported_key(account), "upto", upto)
  end
  local last = redis.call("XREVRANGE", name("journal", account), "+", "-", "COUNT", 1)
  if not last[1] or not is_later(last[1][1], upto) then redis.call("ZREM", UNEXPORTED_JOURNALS, account) end
end
return false
