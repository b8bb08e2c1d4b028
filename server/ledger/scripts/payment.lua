-- A payment's record and the indexes it is in. Which ones follows from its state alone, so `put` keeps them in step.
local UNDECIDED = name("undecided")
local IDLE = name("idle")
-- Above any time in ms: watched records come after undecided ones.
local WATCHED = 17592186044416

-- Those that were not exported as they are now; and those that were exported and finished, by when they last changed. One of
-- these may have been claimed anew since: whoever trims looks again.
local UNEXPORTED = name("unexported", "payments")
local TRIMMABLE = name("trimmable")
-- Ids of trimmed payments whose money had moved.
local TRIMMED = name("trimmed")

local function payment_key(id)
  return name("payment", id)
end

local function load_payment(id)
  return read_hash(payment_key(id))
end

local function is_leased(row)
  return row.lease_until ~= "" and tonumber(row.lease_until) > NOW
end

local function twin_index(row)
  if row.state ~= "settling" and row.state ~= "unknown" and row.state ~= "settled" then return nil end
  return name("twins", row.payer, row.fingerprint), row.created_at
end

-- One that is unknown is in flight until it is decided.
local function in_flight_index(row)
  if row.state == "unknown" then return name("in_flight", row.payer), "+inf" end
  if (row.state ~= "open" and row.state ~= "settling") or row.lease_until == "" then return nil end
  return name("in_flight", row.payer), row.lease_until
end

local function undecided_index(row)
  if row.watched == "1" then return UNDECIDED, text(WATCHED + tonumber(row.updated_at)) end
  if row.state == "settling" or row.state == "unknown" then return UNDECIDED, row.updated_at end
  return nil
end

local function idle_index(row)
  if row.state ~= "settled" then return nil end
  return IDLE, row.lease_until == "" and row.updated_at or row.lease_until
end

local INDEXES = { twin_index, in_flight_index, undecided_index, idle_index }

local function reindex(before, after)
  for _, index in ipairs(INDEXES) do
    local old, old_score
    if before then old, old_score = index(before) end
    local new, new_score = index(after)
    if old and old ~= new then redis.call("ZREM", old, after.id) end
    if new and (old ~= new or old_score ~= new_score) then redis.call("ZADD", new, new_score, after.id) end
  end
end

-- What a payment is exported as (export-ledger.ts, paymentVersion).
local function version_of(row)
  return table.concat({ row.state, row.fence or "", row.updated_at or "", row.watched, row.orphaned or "" }, ".")
end

-- A record that changed must be exported again before it may be trimmed.
local function note_change(before, after)
  if version_of(before) ~= version_of(after) then redis.call("ZADD", UNEXPORTED, 0, after.id) end
end

-- Nothing will ever become of it, but that a released one may be claimed anew.
local function is_finished(row)
  if row.lease_until ~= "" then return false end
  return row.state == "delivered" or row.state == "credited" or (row.state == "released" and row.watched == "0")
end

-- Writes the changes and returns the record as it is now.
local function put(before, changes)
  local after = {}
  for field, value in pairs(before) do after[field] = value end
  local flat = {}
  for field, value in pairs(changes) do
    if type(value) == "number" then value = text(value) end
    after[field] = value
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call("HSET", payment_key(after.id), unpack(flat))
  reindex(before, after)
  note_change(before, after)
  return after
end

-- A record that was not there before. All of them can be walked over in the order in which they were made.
local function insert(row)
  redis.call("ZADD", name("payments"), redis.call("INCR", name("payments", "last")), row.id)
  return put({ id = row.id, state = "released", watched = "0" }, row)
end

-- The guard of a step: the record, if it is in the state, has this fence, and its lease was not dropped.
local function held(id, fence, ...)
  local row = load_payment(id)
  if not row or row.fence ~= fence or row.lease_until == "" then return nil end
  for _, state in ipairs({ ... }) do
    if row.state == state then return row end
  end
  return nil
end

local function stand_in_key(id)
  return name("stand_in", id)
end

-- The payment whose place this one must not take: the one that stood in for it, or one of the same payer and request whose
-- money has moved or may have, without anybody being served. Of these a settled one can be served at once, so it comes first.
local function find_twin(payer, fingerprint, id)
  local stood_in = redis.call("GET", stand_in_key(id))
  local found = stood_in and load_payment(stood_in)
  if found and found.fingerprint == fingerprint then return found end
  found = nil
  for _, other in ipairs(redis.call("ZRANGE", name("twins", payer, fingerprint), 0, -1)) do
    local row = other ~= id and load_payment(other)
    if row and (row.state == "unknown" or not is_leased(row) or row.orphaned == "1") then
      if row.state == "settled" then return row end
      found = found or row
    end
  end
  return found
end

-- Gives a payer upfront terms for so long; a shorter strike never cuts a longer one.
local function strike(payer, strike_ms)
  if strike_ms <= 0 then return end
  local key = name("upfront", payer)
  local earlier = tonumber(redis.call("GET", key) or "0")
  if NOW + strike_ms > earlier then redis.call("SET", key, text(NOW + strike_ms), "PX", strike_ms) end
end

-- Frees its identifier for another payment.
local function drop_identifier(row)
  if row.identifier == "" then return end
  redis.call("DEL", name("identifier", row.identifier))
end

-- Gives a settled record without a live lease to a new holder.
local function take_over(row, lease_ms)
  return put(row, {
    fence = tonumber(row.fence) + 1,
    servings = tonumber(row.servings) + 1,
    orphaned = "0",
    lease_until = NOW + tonumber(lease_ms),
  })
end

local function payment_response(row)
  return read_response("payment:" .. row.id)
end

-- Who is credited in the place of the payer's wallet account; nil: nobody. Records that are older than this have no such field.
local function beneficiary_of(row)
  if not row.beneficiary or row.beneficiary == "" then return nil end
  return row.beneficiary
end

-- The kind of its journal entry. Records that are older than top-ups' own kind have no such field.
local function kind_of(row)
  return row.topup == "1" and "topup" or "owed_credit"
end

-- The account may be in another shard: it is credited from outside, and then credit.lua is called again.
local function elsewhere(row)
  return { beneficiary_of(row), row.amount, row.fence, kind_of(row) }
end

-- What is owed goes onto the payer's wallet account, under a reference that is used once.
local function credit_owed(row)
  return (credit("wallet:" .. row.payer, row.amount, "payment:" .. row.id, kind_of(row)))
end
