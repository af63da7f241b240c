-- Count requests no more against their tenant: they are over, or were never submitted.
-- KEYS   1 seats
-- ARGV   1 epoch  2 grace_ms  3 rates (JSON)|''  4.. values, the ids
-- ->     OK ''
-- FLAGS  allow-oom
-- NEEDS  rates
-- A seat that is younger than the grace stays. A count of another map is left alone. `rates` is what each of the requests
-- took of the limits, and gets back because it was not submitted.
local epoch, grace_ms, rates = unpack(ARGV, 1, 3)
local seats, call = KEYS[1], redis.call
if call('HGET', seats, 'epoch') ~= epoch then return { 'OK', '' } end
local clock = call('TIME')
local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last_ms = now_ms - tonumber(grace_ms)
for i = 4, #ARGV do
  local since = call('HGET', seats, ARGV[i])
  if since and tonumber(since) <= last_ms and call('HDEL', seats, ARGV[i]) == 1 then
    call('HINCRBY', seats, '#', -1)
    return_rates(string.match(seats, '^{[^}]*}:'), rates, now_ms)
  end
end
return { 'OK', '' }
