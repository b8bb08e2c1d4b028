-- MicroUsd and other int64 values are decimal text. Lua's numbers are doubles: exact below 2^53, so what may be larger is
-- counted in two parts of base 10^9.
local BASE = 1000000000

local function is_small(a)
  return #a < 16
end

local function parts(a)
  local negative = string.sub(a, 1, 1) == "-"
  local digits = negative and string.sub(a, 2) or a
  local high = tonumber(string.sub(digits, 1, -10)) or 0
  local low = tonumber(string.sub(digits, -9)) or 0
  if negative then return -high, -low end
  return high, low
end

local function add(a, b)
  if is_small(a) and is_small(b) then return text(tonumber(a) + tonumber(b)) end
  local ah, al = parts(a)
  local bh, bl = parts(b)
  local high, low = ah + bh, al + bl
  local carry = math.floor(low / BASE)
  high, low = high + carry, low - carry * BASE
  if high < 0 and low > 0 then high, low = high + 1, low - BASE end
  if high == 0 then return text(low) end
  return text(high) .. string.format("%09.0f", math.abs(low))
end

local function negated(a)
  if a == "0" then return a end
  return string.sub(a, 1, 1) == "-" and string.sub(a, 2) or "-" .. a
end

local function subtract(a, b)
  return add(a, negated(b))
end

local function is_below(a, b)
  if is_small(a) and is_small(b) then return tonumber(a) < tonumber(b) end
  return string.sub(subtract(a, b), 1, 1) == "-"
end

local function least(a, b)
  return is_below(a, b) and a or b
end
