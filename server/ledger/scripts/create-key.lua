-- @include lib money account key
-- See AccountLedger.createKey. Returns outcome, key, now. `fields`: the key's settings as pairs of names and values.
local id, account, hash, prefix, last4, request, fingerprint = unpack(ARGV, 2)
local request_key = name("key_request", account, request)
if request ~= "" then
  local earlier = redis.call("HMGET", request_key, "fingerprint", "key")
  if earlier[1] and earlier[1] ~= fingerprint then return { "conflict", false, NOW } end
  if earlier[1] then return { "repeated", flatten(load_key(earlier[2])), NOW } end
end
if redis.call("EXISTS", account_key(account)) == 0 then return { "not_found", false, NOW } end
if redis.call("EXISTS", key_key(id)) == 1 then return redis.error_reply("ERR a key of this id exists") end
local settings = { unpack(ARGV, 9) }
redis.call("HSET", key_key(id), "id", id, "account", account, "prefix", prefix, "last4", last4, "revoked_at", "",
  "created_at", NOW_TEXT, "last_used_at", "", "usage", "0", "spent", "0", "held", "0", "running", "0", "window_start", "0",
  "window_count", "0", unpack(settings))
local row = load_key(id)
redis.call("HSET", key_key(id), "period", text(period_start(row.limit_reset)))
redis.call("RPUSH", name("keys", account), id)
redis.call("HSET", name("secret", hash), "key", id, "valid_until", "")
redis.call("SADD", name("secrets", id), hash)
if request ~= "" then redis.call("HSET", request_key, "fingerprint", fingerprint, "key", id) end
return { "created", flatten(load_key(id)), NOW }
