-- @include lib session
-- See SessionLedger.openSession. Drops what is over, and the oldest beyond `most`.
local wallet, id, token, ttl_ms, most = unpack(ARGV, 2)
local key = sessions_key(wallet)
if redis.call("HEXISTS", key, id) == 1 then return false end
local flat = redis.call("HGETALL", key)
local live = {}
for i = 1, #flat, 2 do
  local session = unpack_session(flat[i + 1])
  if session.expires_at <= NOW then
    redis.call("HDEL", key, flat[i])
  else
    live[#live + 1] = { id = flat[i], opened_at = session.opened_at }
  end
end
table.sort(live, function(a, b)
  if a.opened_at ~= b.opened_at then return a.opened_at < b.opened_at end
  return a.id < b.id
end)
for i = 1, #live - tonumber(most) + 1 do redis.call("HDEL", key, live[i].id) end
local expires_at = NOW + tonumber(ttl_ms)
redis.call("HSET", key, id, pack_session({ current = token, previous = "", refreshed_at = NOW, opened_at = NOW,
  expires_at = expires_at }))
-- All of them live equally long, so none outlives the youngest.
redis.call("PEXPIRE", key, ttl_ms)
return false
