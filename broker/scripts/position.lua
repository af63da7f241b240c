-- Count the requests that will be claimed before this one while the tenants take turns. Changes nothing.
-- KEYS   1 ring
-- ARGV   1 request_id  2 tenant  3 max_tenants
-- ->     the count, or -1 when the request is not in a tenant's waiting list
-- NEEDS  rights prefix
-- At most `max_tenants` tenants of the ring are counted.
local request_id, own_tenant, max_tenants = unpack(ARGV)
local own_place = call('LPOS', P .. 'wait:' .. own_tenant, request_id)
if not own_place then return -1 end
local ahead, is_past_own = own_place, false
for _, tenant in ipairs(call('LRANGE', P .. 'ring', 0, max_tenants - 1)) do
  if tenant == own_tenant then
    is_past_own = true
  else
    local claims_before_own = is_past_own and own_place or own_place + 1
    ahead = ahead + math.min(call('LLEN', P .. 'wait:' .. tenant), claims_before_own)
  end
end
return ahead
