-- List requests whose logs are due for compaction, oldest end first, and let no other caller have them for a while.
-- KEYS   1 uncompacted
-- ARGV   1 after_ms  2 hold_ms  3 limit
-- ->     the request ids
-- FLAGS  allow-oom
-- A request ended at least `after_ms` ago. One that is still listed `hold_ms` later, because its caller died, is due
-- again. A partition without such requests costs one command.
local after_ms, hold_ms, limit = unpack(ARGV)
local call = redis.call
if call('EXISTS', KEYS[1]) == 0 then return {} end
local clock = call('TIME')
local due = clock[1] * 1000 + math.floor(clock[2] / 1000) - after_ms
local ids = call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', due), 'LIMIT', 0, limit)
for _, id in ipairs(ids) do call('ZADD', KEYS[1], string.format('%.0f', due + hold_ms), id) end
return ids
