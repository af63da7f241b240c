-- Count requests no more against their tenant: they are over, or were never submitted.
-- KEYS   1 seats
-- ARGV   1 epoch  2 grace_ms  3.. values, the ids
-- ->     OK ''
-- FLAGS  allow-oom
-- A seat that is younger than the grace stays. A count of another map is left alone.
local epoch, grace_ms = unpack(ARGV, 1, 2)
local seats, call = KEYS[1], redis.call
if call('HGET', seats, 'epoch') ~= epoch then return { 'OK', '' } end
local clock = call('TIME')
local last_ms = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(grace_ms)
for i = 3, #ARGV do
  local since = call('HGET', seats, ARGV[i])
  if since and tonumber(since) <= last_ms and call('HDEL', seats, ARGV[i]) == 1 then
    call('HINCRBY', seats, '#', -1)
  end
end
return { 'OK', '' }
