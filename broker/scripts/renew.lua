-- Renew the lease of a running attempt. No other script renews a lease.
-- KEYS   1 request  2 running
-- ARGV   1 attempt  2 lease_ms  3 request_id
-- ->     OK '' | FENCED state
-- FLAGS  allow-oom
local attempt, lease_ms, request_id = unpack(ARGV)
local h = redis.call('HMGET', KEYS[1], 'state', 'attempt')
if h[1] ~= 'running' or h[2] ~= attempt then return { 'FENCED', h[1] or 'missing' } end
local clock = redis.call('TIME')
local lease_end_ms = clock[1] * 1000 + math.floor(clock[2] / 1000) + lease_ms
redis.call('ZADD', KEYS[2], string.format('%.0f', lease_end_ms), request_id)
return { 'OK', '' }
