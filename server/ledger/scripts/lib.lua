-- Every script gets one key, the name of its shard ("fb:{17}"); everything it touches begins with it, so all of it is in one slot.
local SHARD = KEYS[1]

-- ms since 1970. The store's clock decides; tests give another.
local NOW = tonumber(ARGV[1])
if not NOW then
  local time = redis.call("TIME")
  NOW = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function name(...)
  return SHARD .. ":" .. table.concat({ ... }, ":")
end

local function read_hash(key)
  local flat = redis.call("HGETALL", key)
  if #flat == 0 then return nil end
  local row = {}
  for i = 1, #flat, 2 do row[flat[i]] = flat[i + 1] end
  return row
end

local function flatten(row)
  local flat = {}
  for field, value in pairs(row) do
    flat[#flat + 1] = field
    flat[#flat + 1] = tostring(value)
  end
  return flat
end

-- Whole numbers below 2^53 as text: tostring() would write 1.7e+15.
local function text(number)
  return string.format("%d", number)
end

local NOW_TEXT = text(NOW)
