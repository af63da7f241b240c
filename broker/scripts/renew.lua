-- Keep the lease of a running attempt: the only renewer there is.
-- KEYS  1 request hash  2 running set
-- ARGV  1 attempt  2 lease_ms  3 id
-- ->    OK '' | FENCED state
local h = redis.call('HMGET', KEYS[1], 'state', 'attempt')
if h[1] ~= 'running' or h[2] ~= ARGV[1] then return { 'FENCED', h[1] or 'missing' } end
local clock = redis.call('TIME')
local lease_end_ms = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[2]
redis.call('ZADD', KEYS[2], string.format('%.0f', lease_end_ms), ARGV[3])
return { 'OK', '' }
