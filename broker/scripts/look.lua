-- Whether a partition has work that nobody has taken, and when its next lease or delay ends. Changes nothing.
-- KEYS   1 ring  2 suspect  3 running  4 delayed  5 newer
-- ARGV   1 format
-- ->     number of tenants with waiting requests, and of requests in `newer` up to `format`; number of suspects; ms
--        until the next end (0 now, -1 none)
-- An empty partition costs one command.
local call = redis.call
if call('EXISTS', unpack(KEYS)) == 0 then return { 0, 0, -1 } end
local clock, soonest_ms = call('TIME'), -1
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 3, 4 do
  local first = call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  local due_ms = first[2] and math.max(0, tonumber(first[2]) - now)
  if due_ms and (soonest_ms < 0 or due_ms < soonest_ms) then soonest_ms = due_ms end
end
local newer = #call('ZRANGEBYSCORE', KEYS[5], '-inf', ARGV[1], 'LIMIT', 0, 1)
return { call('LLEN', KEYS[1]) + newer, call('LLEN', KEYS[2]), soonest_ms }
