-- Every script begins with this. KEYS[2] is the mark that its shard was given when the ledger was made. Where it is missing nothing may be
-- taken for never written: what was here is lost, or this is another Redis.
if redis.call("EXISTS", KEYS[2]) == 0 then
  return redis.error_reply("LOST the ledger that was opened is not here: its data was lost, or this is another Redis")
end
