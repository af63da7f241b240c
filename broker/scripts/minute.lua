-- The half seconds of the last minute, in which the calls and the tokens of an upstream are counted: what scripts share.
-- A call counts until no part of its half second is in the last minute. So the limits hold in any 60 s, and 99 % of them
-- can be used. A bucket that fills evenly would let two limits pass in the first minute after a pause.
local SLOT_MS, SLOTS = 500, 120
local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local slot = math.floor(now_ms / SLOT_MS)

-- Lua would print a large number as 1.7e+12.
local function int(x) return string.format('%.0f', x) end
