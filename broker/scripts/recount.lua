-- Count the requests of a partition that are not over, and replace the counts that limits are checked against.
-- KEYS   1 ring
-- ARGV   1 every_ms  2 most  3 retention_s  4 conversation_ttl_s
-- ->     OK count bytes | DUP '' | TOO_LONG ''
-- FLAGS  allow-oom
-- NEEDS  rights prefix kept
-- Every change of a request adjusts the counts in the same step. But Redis may evict a request, or a counter, and an
-- operator may delete one. This script drops requests that are gone from the sets of their tenants, adds requests
-- that are missing there, and sets `load` to what it found. It does so once in `every_ms`, for at most `most`
-- requests: with more, which take too long for one step, the counts stay as they are. What tenants kept until now is
-- dropped from the count of their kept bytes, of a hundred tenants at once. Functions without waiting requests leave `pools`.
local every_ms, most, retention_s, conversation_ttl_s = unpack(ARGV)
local every_ms, most = tonumber(every_ms), tonumber(most)
local AT_ONCE = 100
local age_ms = now - tonumber(call('HGET', P .. 'load', 'recounted') or 0)
if age_ms >= 0 and age_ms < every_ms then return { 'DUP', '' } end
call('HSET', P .. 'load', 'recounted', int(now))
for _, account in ipairs(call('ZRANGEBYSCORE', P .. 'aging', '-inf', int(now), 'LIMIT', 0, AT_ONCE)) do drop_expired(account) end

local tenants, ids, found = {}, {}, 0
local function add_ids(listed)
  found = found + #listed
  for _, id in ipairs(listed) do ids[#ids + 1] = id end
end

for _, tenant in ipairs(call('SMEMBERS', P .. 'tenants')) do tenants[tenant] = true end
local function add_pool(pool)
  for _, place in ipairs(call('LRANGE', P .. 'ring' .. of_pool(pool), 0, most)) do
    local users = string.match(place, '^(.*)~$')
    for _, owner in ipairs(users and call('LRANGE', P .. 'users:' .. in_pool(pool, users), 0, most) or { place }) do
      tenants[owner] = true
      add_ids(call('LRANGE', P .. 'wait:' .. in_pool(pool, owner), 0, most))
      if found > most then return end
    end
  end
  add_ids(call('LRANGE', P .. 'suspect' .. of_pool(pool), 0, most))
  add_ids(call('ZRANGE', P .. 'newer' .. of_pool(pool), 0, most))
end
add_pool('')
for _, pool in ipairs(call('SMEMBERS', P .. 'pools')) do
  local found_before = found
  add_pool(pool)
  if found == found_before then call('SREM', P .. 'pools', pool) end
end
for _, set in ipairs({ 'running', 'delayed' }) do add_ids(call('ZRANGE', P .. set, 0, most)) end
if found > most then return { 'TOO_LONG', '' } end

-- Held requests are found through the active request of their conversation.
for i = 1, #ids do
  local h = call('HMGET', P .. 'req:' .. ids[i], 'tenant', 'conv')
  local listed = { ids[i] }
  if h[1] and h[2] ~= '' then
    for _, id in ipairs(call('LRANGE', P .. 'conv:' .. h[2] .. ':wait', 0, most)) do listed[#listed + 1] = id end
  end
  if h[1] then
    tenants[h[1]] = true
    for _, id in ipairs(listed) do call('SADD', P .. 'tenant:' .. h[1], id) end
  end
end

found = 0
for tenant in pairs(tenants) do found = found + call('SCARD', P .. 'tenant:' .. tenant) end
if found > most then return { 'TOO_LONG', '' } end

local count, bytes = 0, 0
call('DEL', P .. 'busy', P .. 'owed', P .. 'crowd')
for tenant in pairs(tenants) do
  for _, id in ipairs(call('SMEMBERS', P .. 'tenant:' .. tenant)) do
    local h = call('HMGET', P .. 'req:' .. id, 'state', 'bytes')
    if h[1] and not is_over(h[1]) then
      count, bytes = count + 1, bytes + tonumber(h[2] or 0)
      count_of_tenant('owed', tenant, tonumber(h[2] or 0))
      if is_user(tenant) then count_of_tenant('crowd', tenant, 1) end
      if h[1] == 'running' then count_of_tenant('busy', tenant, 1) end
    else
      call('SREM', P .. 'tenant:' .. tenant, id)
      -- The log of a request that Redis has lost would stay without limit.
      if not h[1] then call('EXPIRE', P .. 'log:' .. id, retention_s) end
    end
  end
  if call('EXISTS', P .. 'tenant:' .. tenant) == 0 then
    age_tenant(tenant, retention_s, conversation_ttl_s)
  else
    call('SADD', P .. 'tenants', tenant)
  end
end
call('HSET', P .. 'load', 'count', count, 'bytes', int(bytes))
return { 'OK', count, int(bytes) }
