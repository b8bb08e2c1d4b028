-- @include lib key
-- See AccountLedger.rotateKey. Returns outcome, key, now.
local id, hash, prefix, last4, grace_ms, request, fingerprint = unpack(ARGV, 2)
local request_key = name("rotation_request", id, request)
if request ~= "" then
  local earlier = redis.call("HMGET", request_key, "fingerprint", "key")
  if earlier[1] and earlier[1] ~= fingerprint then return { "conflict", false, NOW } end
  if earlier[1] then return { "repeated", flatten(load_key(id)), NOW } end
end
local key = load_key(id)
if not key then return { "not_found", false, NOW } end
if status_of(key) ~= "active" then return { "not_active", false, NOW } end
local until_ = NOW + tonumber(grace_ms)
for _, old in ipairs(redis.call("SMEMBERS", name("secrets", id))) do
  local ends = redis.call("HGET", name("secret", old), "valid_until")
  if ends ~= "" and tonumber(ends) <= NOW then
    redis.call("DEL", name("secret", old))
    redis.call("SREM", name("secrets", id), old)
  elseif ends == "" or tonumber(ends) > until_ then redis.call("HSET", name("secret", old), "valid_until", text(until_)) end
end
redis.call("HSET", name("secret", hash), "key", id, "valid_until", "")
redis.call("SADD", name("secrets", id), hash)
redis.call("HSET", key_key(id), "prefix", prefix, "last4", last4)
if request ~= "" then redis.call("HSET", request_key, "fingerprint", fingerprint, "key", id) end
return { "created", flatten(load_key(id)), NOW }
