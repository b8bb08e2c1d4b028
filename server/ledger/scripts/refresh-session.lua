-- @include lib session
-- See SessionLedger.refreshSession.
local wallet, id, token, next_token, grace_ms = unpack(ARGV, 2)
local session = load_session(wallet, id)
if not session then return "ended" end
if session.current == token then
  session.current, session.previous, session.refreshed_at = next_token, token, NOW
  redis.call("HSET", sessions_key(wallet), id, pack_session(session))
  return "refreshed"
end
if session.previous == token and NOW < session.refreshed_at + tonumber(grace_ms) then return "just_refreshed" end
redis.call("HDEL", sessions_key(wallet), id)
return "reused"
