-- @include lib money responses account payment usage
-- @flags allow-oom
-- settled -> delivered, or (park) settled without a lease. Keeps the response and writes the usage record, if there is one.
local id, fence, state, sealed, ttl, budget, account, key_id, facts, charged = unpack(ARGV, 2)
local row = held(id, fence, "settled")
if not row then return "lost" end
put(row, { state = state, lease_until = "", updated_at = NOW })
keep_response("payment:" .. id, sealed, ttl, budget)
if facts ~= "" then write_usage("", account, key_id, facts, charged, "0", "") end
return "ok"
