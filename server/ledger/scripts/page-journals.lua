-- @include lib money account export-cursor
-- @flags no-writes
-- Journal entries of this shard that are not exported, account by account, after a place: an account ("": the start) and an
-- entry of its journal ("": after all of it). Returns entries as { account, id, fields }, and the place to go on after (false:
-- nothing is left).
local after_account, after_entry, limit = unpack(ARGV, 2)
limit = tonumber(limit)
local found = {}
local from = after_account == "" and "-" or (after_entry == "" and "(" or "[") .. after_account
local accounts = redis.call("ZRANGEBYLEX", UNEXPORTED_JOURNALS, from, "+", "LIMIT", 0, limit)
for i, account in ipairs(accounts) do
  local start = redis.call("HGET", exported_key(account), "upto") or "0-0"
  if account == after_account and is_later(after_entry, start) then start = after_entry end
  local entries = redis.call("XRANGE", name("journal", account), "(" .. start, "+", "COUNT", limit - #found)
  for _, entry in ipairs(entries) do found[#found + 1] = { account, entry[1], entry[2] } end
  if #found >= limit then return { found, account, entries[#entries][1] } end
  if i == limit then return { found, account, "" } end
end
return { found, false, false }
