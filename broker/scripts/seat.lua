-- Count a request against its tenant, and against its user, over all partitions, before the request is submitted.
-- KEYS   1 seats  2 user_seats
-- ARGV   1 request_id  2 tenant_limit  3 user_limit|''  4 epoch  5 rates (JSON)|''
-- ->     OK rests | TENANT_LIMIT whose | STALE whose | RATE limit
-- NEEDS  rates
-- Invariant: each request that is not over has a field, and `#` is the number of fields. A request that is over may
-- still have one, until a recount. STALE: the requests were not counted yet since the map has this epoch. `whose` is
-- `user` for the second key, which is used with a `user_limit` only, and empty for the first one.
local request_id, tenant_limit, user_limit, epoch, rates = unpack(ARGV)
local call = redis.call
local counted = { { KEYS[1], tenant_limit, '' } }
if user_limit ~= '' then counted[2] = { KEYS[2], user_limit, 'user' } end
local is_full
for _, each in ipairs(counted) do
  local seats, limit, whose = unpack(each)
  local known = call('HMGET', seats, 'epoch', '#', request_id)
  if known[1] ~= epoch then return { 'STALE', whose } end
  if known[3] then return { 'OK', '' } end
  if tonumber(known[2]) >= tonumber(limit) then is_full = whose end
end
if is_full then return { 'TENANT_LIMIT', is_full } end
local clock = call('TIME')
local now_ms = string.format('%d%03d', clock[1], math.floor(clock[2] / 1000))
local has_room, rests = take_rates(string.match(KEYS[1], '^{[^}]*}:'), rates, tonumber(now_ms))
if not has_room then return { 'RATE', rests } end
for _, each in ipairs(counted) do
  call('HSET', each[1], request_id, now_ms)
  call('HINCRBY', each[1], '#', 1)
end
return { 'OK', rests }
