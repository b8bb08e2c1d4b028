-- Up to where each journal, and the usage of this shard, is exported: ids of stream entries, which never go back.
local UNEXPORTED_JOURNALS = name("unexported", "journals")
local USAGE_EXPORTED = name("usage", "exported")

-- What is known of an account's journal that is not in it any more: `balance` and `key:<id>`, the sums of trimmed entries,
-- `trimmed`, how many they are, and `upto`, the last exported entry.
local function exported_key(account)
  return name("exported", account)
end

-- Whether one stream id comes after another.
local function is_later(a, b)
  local a_ms, a_seq = string.match(a, "^(%d+)-(%d+)$")
  local b_ms, b_seq = string.match(b, "^(%d+)-(%d+)$")
  if a_ms ~= b_ms then return tonumber(a_ms) > tonumber(b_ms) end
  return tonumber(a_seq) > tonumber(b_seq)
end

-- Deletes a stream's entries up to this one, itself included.
local function trim_stream(stream, last)
  local ms, seq = string.match(last, "^(%d+)-(%d+)$")
  return redis.call("XTRIM", stream, "MINID", "=", ms .. "-" .. text(tonumber(seq) + 1))
end
