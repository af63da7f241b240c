-- Count the requests of a tenant that are in flight, for the first time by this map.
-- KEYS   1 seats
-- ARGV   1 epoch  2 ttl_s  3.. values, the ids that were found in flight
-- ->     OK ''
-- FLAGS  allow-oom
-- All submits of older maps have arrived by then, or are refused. Another process may have counted meanwhile.
local epoch, ttl_s = unpack(ARGV, 1, 2)
local seats, call = KEYS[1], redis.call
if tonumber(call('HGET', seats, 'epoch') or -1) >= tonumber(epoch) then return { 'OK', '' } end
call('DEL', seats)
call('HSET', seats, 'epoch', epoch, '#', #ARGV - 2)
local clock = call('TIME')
local now_ms = string.format('%d%03d', clock[1], math.floor(clock[2] / 1000))
for i = 3, #ARGV do call('HSET', seats, ARGV[i], now_ms) end
call('EXPIRE', seats, ttl_s)
return { 'OK', '' }
