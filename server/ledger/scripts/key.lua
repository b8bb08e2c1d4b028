-- Keys: "" stands for no restriction, or never.
local function key_key(id)
  return name("key", id)
end

local function load_key(id)
  return read_hash(key_key(id))
end

local DAY_MS = 86400000
-- 1 January 1970 was a Thursday: the first Monday was four days later.
local MONDAY_MS = 4 * DAY_MS

-- The day of the month that a day since 1970 is, from 1 (Howard Hinnant, "chrono-compatible low-level date algorithms").
local function day_of_month(days)
  local z = days + 719468
  local doe = z - math.floor(z / 146097) * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  return doy - math.floor((153 * math.floor((5 * doy + 2) / 153) + 2) / 5) + 1
end

-- Start of the period of a spend limit that contains this moment, ms since 1970, in UTC.
local function period_start(reset)
  local days = math.floor(NOW / DAY_MS)
  if reset == "daily" then return days * DAY_MS end
  if reset == "weekly" then return math.floor((NOW - MONDAY_MS) / (7 * DAY_MS)) * 7 * DAY_MS + MONDAY_MS end
  if reset == "monthly" then return (days - day_of_month(days) + 1) * DAY_MS end
  return 0
end

-- What was spent in the period that contains this moment.
local function spent_now(key)
  return period_start(key.limit_reset) > tonumber(key.period) and "0" or key.spent
end

local function status_of(key)
  if key.revoked_at ~= "" then return "revoked" end
  if key.expires_at ~= "" and tonumber(key.expires_at) <= NOW then return "expired" end
  return "active"
end

-- The id of the key whose secret this is; nil also once the secret's grace is over.
local function key_of_secret(hash)
  local found = redis.call("HMGET", name("secret", hash), "key", "valid_until")
  if not found[1] or (found[2] ~= "" and tonumber(found[2]) <= NOW) then return nil end
  return found[1]
end
