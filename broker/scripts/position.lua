-- Count the requests of its pool that will be claimed before this one while the tenants take turns, and the users of each in their
-- tenant's turns. Changes nothing.
-- KEYS   1 ring
-- ARGV   1 request_id  2 tenant  3 max_tenants
-- ->     the count, or -1 when the request is not in a tenant's waiting list
-- NEEDS  rights prefix
-- At most `max_tenants` tenants of the ring, and as many users in all, are counted.
local request_id, own_tenant, max_tenants = unpack(ARGV)
local pool = call('HGET', P .. 'req:' .. request_id, 'pool') or ''
local own_place = call('LPOS', P .. 'wait:' .. in_pool(pool, own_tenant), request_id)
if not own_place then return -1 end
local own_users = is_user(own_tenant) and account_of(own_tenant) .. '~'
local left = tonumber(max_tenants)

local function owners_of(place)
  local owners = { place }
  if string.sub(place, -1) == '~' then owners = call('LRANGE', P .. 'users:' .. in_pool(pool, account_of(place)), 0, math.max(0, left - 1)) end
  left = left - #owners
  return owners
end

-- The requests of others that are claimed before the one at `place` of `own`, one of those in turn.
local function count_ahead(in_turn, lengths, own, place)
  local ahead, is_past_own = place, false
  for i, each in ipairs(in_turn) do
    if each == own then is_past_own = true
    else ahead = ahead + math.min(lengths[i], is_past_own and place or place + 1) end
  end
  return ahead
end

local places, totals = call('LRANGE', P .. 'ring' .. of_pool(pool), 0, max_tenants - 1), {}
local is_of_users = false
for i, place in ipairs(places) do
  local owners, lengths = owners_of(place), {}
  totals[i] = 0
  for n, owner in ipairs(owners) do
    lengths[n] = call('LLEN', P .. 'wait:' .. in_pool(pool, owner))
    totals[i] = totals[i] + lengths[n]
  end
  if place == own_users then own_place, is_of_users = count_ahead(owners, lengths, own_tenant, own_place), true end
end
return count_ahead(places, totals, is_of_users and own_users or own_tenant, own_place)
