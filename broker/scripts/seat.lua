-- Count a request against its tenant, over all partitions, before the request is submitted.
-- KEYS   1 seats
-- ARGV   1 request_id  2 tenant_limit  3 epoch  4 rates (JSON)|''
-- ->     OK rests | TENANT_LIMIT '' | STALE '' | RATE limit
-- NEEDS  rates
-- Invariant: each request that is not over has a field, and `#` is the number of fields. A request that is over may
-- still have one, until a recount. STALE: the requests were not counted yet since the map has this epoch.
local request_id, tenant_limit, epoch, rates = unpack(ARGV)
local seats, call = KEYS[1], redis.call
local known = call('HMGET', seats, 'epoch', '#', request_id)
if known[1] ~= epoch then return { 'STALE', '' } end
if known[3] then return { 'OK', '' } end
if tonumber(known[2]) >= tonumber(tenant_limit) then return { 'TENANT_LIMIT', '' } end
local clock = call('TIME')
local now_ms = string.format('%d%03d', clock[1], math.floor(clock[2] / 1000))
local has_room, rests = take_rates(string.match(seats, '^{[^}]*}:'), rates, tonumber(now_ms))
if not has_room then return { 'RATE', rests } end
call('HSET', seats, request_id, now_ms)
call('HINCRBY', seats, '#', 1)
return { 'OK', rests }
