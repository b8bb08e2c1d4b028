-- Sessions of a wallet are one hash: id -> "current,previous,refreshed_at,opened_at,expires_at"; "" stands for no previous token.
local function sessions_key(wallet)
  return name("sessions", wallet)
end

local function pack_session(session)
  return table.concat({ session.current, session.previous, text(session.refreshed_at), text(session.opened_at),
    text(session.expires_at) }, ",")
end

local function unpack_session(value)
  local current, previous, refreshed_at, opened_at, expires_at =
    string.match(value, "^([^,]*),([^,]*),(%d+),(%d+),(%d+)$")
  return { current = current, previous = previous, refreshed_at = tonumber(refreshed_at),
    opened_at = tonumber(opened_at), expires_at = tonumber(expires_at) }
end

-- nil also once it is over.
local function load_session(wallet, id)
  local value = redis.call("HGET", sessions_key(wallet), id)
  if not value then return nil end
  local session = unpack_session(value)
  if session.expires_at <= NOW then return nil end
  return session
end
