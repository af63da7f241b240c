-- How tenants take turns: functions of claim.lua, behind those of prefix.lua.

-- The place in a pool's ring of the tenant with the next turn: of those that wait, the one with the fewest running
-- requests for its weight, and of several the first. So no tenant holds all workers while another one waits. Few tenants
-- are compared: those at the head, and those at the end, which were served last or have just come. A tenant between both
-- comes nearer with each turn. The users of a tenant have one place together: `<tenant>~`. Returns the place, from which
-- side of the ring it is removed, and the running requests for the weight, if there is more than one to compare. Last comes
-- whether the tenant is alone in the ring.
local MOST_COMPARED = 64
local function next_tenant(pool, is_alone)
  local ring = P .. 'ring' .. of_pool(pool)
  local tenants = call('LRANGE', ring, 0, MOST_COMPARED - 1)
  if #tenants == 0 or (is_alone and #tenants == 1) then return tenants[1], 1, 0, true end
  local ahead = #tenants
  if ahead == MOST_COMPARED then
    for _, tenant in ipairs(call('LRANGE', ring, -MOST_COMPARED, -1)) do tenants[#tenants + 1] = tenant end
  end
  local accounts = {}
  for i, tenant in ipairs(tenants) do accounts[i] = account_of(tenant) end
  local busy = call('HMGET', P .. 'busy', unpack(accounts))
  local weights = call('HMGET', P .. 'weights', unpack(accounts))
  local best, least, side
  for i, tenant in ipairs(tenants) do
    local share = tonumber(busy[i] or 0) / tonumber(weights[i] or 1)
    if not least or share < least then best, least, side = tenant, share, i <= ahead and 1 or -1 end
  end
  return best, side, least, #tenants == 1
end

-- The owner with the next turn at a place of the ring: of several users, one after the other.
local function next_owner(pool, place)
  if string.sub(place, -1) ~= '~' then return place end
  local users = P .. 'users:' .. in_pool(pool, account_of(place))
  local owner = call('LPOP', users)
  if owner then call('RPUSH', users, owner) end
  return owner
end

-- The next request at a place of a pool's ring, whose owner has its next turn after all others.
local function pop_in_turn(pool, place, side, is_only)
  local ring = P .. 'ring' .. of_pool(pool)
  if not is_only then
    call('LREM', ring, side, place)
    -- The next turn comes first: a list that cannot be read ends the script, and its tenant must keep its turns.
    call('RPUSH', ring, place)
  end
  local owner = next_owner(pool, place)
  if not owner then
    call('LREM', ring, -1, place)
    return nil
  end
  local waiting = P .. 'wait:' .. in_pool(pool, owner)
  local id = call('LPOP', waiting)
  if call('EXISTS', waiting) == 0 then leave_turns(owner, pool, -1) end
  return id
end
