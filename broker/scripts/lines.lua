-- Read the line of a partition: the tenants and users in turn, and parts of their waiting lists. Changes nothing.
-- KEYS   1 ring, that of a pool
-- ARGV   1 max_tenants  2 max_ids  3 part_size  4 pool|''  5.. values, a tenant and the place where a part begins, in turn
-- ->     tenants in turn, number of waiting requests of each, then the ids of each part
-- At most `max_tenants` tenants are read. The users of a tenant are successive, and share its turns. No part is read after the one that reaches `max_ids`, so the work of a
-- call has a limit, and the caller asks for the other parts first the next time.
local max_tenants, max_ids, part_size, pool = unpack(ARGV, 1, 4)
local call = redis.call
local P = string.match(KEYS[1], '^{[^}]*}:')
local tenants, lengths, count = {}, {}, 0
local function in_pool(owner) return pool == '' and owner or pool .. '|' .. owner end
for _, place in ipairs(call('LRANGE', KEYS[1], 0, max_tenants - 1)) do
  local users = string.match(place, '^(.*)~$')
  local most = max_tenants - #tenants - 1
  if most < 0 then break end
  for _, owner in ipairs(users and call('LRANGE', P .. 'users:' .. in_pool(users), 0, most) or { place }) do
    tenants[#tenants + 1] = owner
  end
end
for i, tenant in ipairs(tenants) do lengths[i] = call('LLEN', P .. 'wait:' .. in_pool(tenant)) end
local reply = { tenants, lengths }
for i = 5, #ARGV, 2 do
  if count >= tonumber(max_ids) then break end
  local ids = call('LRANGE', P .. 'wait:' .. in_pool(ARGV[i]), ARGV[i + 1], ARGV[i + 1] + part_size - 1)
  count = count + #ids
  reply[#reply + 1] = ids
end
return reply
