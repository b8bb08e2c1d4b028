-- For wrk: sends each payment of the file PAYMENTS once and says on standard error how many seconds all of them took, or which
-- status was not 200. wrk goes on until it is interrupted; what it sends by then carries no payment.
local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds; long ns; } bench_time; int clock_gettime(int clock, bench_time *at);")
local MONOTONIC = 1
local at = ffi.new("bench_time")
local requests, paid, started = {}, 0, 0
-- wrk asks for one request before it starts, only to look at it.
local sent = -1

local function now()
  ffi.C.clock_gettime(MONOTONIC, at)
  return tonumber(at.seconds) + tonumber(at.ns) / 1e9
end

local function report(what)
  io.stderr:write(what, "\n")
  io.stderr:flush()
  wrk.thread:stop()
end

function init()
  for payment in io.lines(os.getenv("PAYMENTS")) do
    requests[#requests + 1] = wrk.format("GET", nil, { ["payment-signature"] = payment })
  end
end

function request()
  sent = sent + 1
  if sent == 1 then started = now() end
  return requests[sent] or wrk.format("GET")
end

function response(status)
  if status == 200 then
    paid = paid + 1
    if paid == #requests then report("seconds " .. now() - started) end
  elseif sent <= #requests or sent > 2 * #requests then
    report("status " .. status)
  end
end
