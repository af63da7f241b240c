-- Accept a request, or refuse it and leave nothing behind.
-- KEYS  ring
-- ARGV  1 id  2 fingerprint  3 tenant  4 payload  5 policy  6 idem|''  7 conv|''  8 on_busy
--       9 max_count  10 max_tenant  11 max_bytes  12 keep_s  13 conv_ttl_s  14 model (JSON)|''
--       15 queued entry  16 head (JSON)  17 question (JSON)|''  18 links (JSON)|''  19 max turns
-- ->    OK id | EXISTS id | CONFLICT id | FULL '' | TENANT_LIMIT '' | BUSY active_id
-- Safe to repeat: the id, or the idempotency key, is found again. The idempotency key and the log
-- have no TTL before the terminal, so an accepted request cannot expire while it waits.
local id, fingerprint, tenant, payload, idem, conv = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[7]
local keep_s, conv_ttl_s = tonumber(ARGV[12]), tonumber(ARGV[13])
local EXPIRED_PER_SUBMIT = 16
-- What it adds to the memory of the queue: a wire may keep the question in the log and the turns, too.
local bytes = #payload + #ARGV[15] + #ARGV[17]

if idem ~= '' then
  local known = call('GET', P .. 'idem:' .. idem)
  if known then
    local bar = string.find(known, '|', 1, true)
    local same = string.sub(known, 1, bar - 1) == fingerprint
    return { same and 'EXISTS' or 'CONFLICT', string.sub(known, bar + 1) }
  end
end
if call('EXISTS', P .. 'req:' .. id) == 1 then return { 'EXISTS', id } end

local load = call('HMGET', P .. 'load', 'count', 'bytes')
if tonumber(load[1] or 0) >= tonumber(ARGV[9]) or tonumber(load[2] or 0) + bytes > tonumber(ARGV[11]) then
  return { 'FULL', '' }
end
if call('SCARD', P .. 'tenant:' .. tenant) >= tonumber(ARGV[10]) then return { 'TENANT_LIMIT', '' } end

local state = 'queued'
local key, talk = P .. 'req:' .. id, P .. 'conv:' .. conv
local active = conv ~= '' and call('HGET', talk, 'active')
if active and ARGV[8] == 'reject' then return { 'BUSY', active } end
if active and ARGV[8] == 'queue' then state = 'held' end

call('HSET', key, 'state', state, 'attempt', int(now), 'n', 0, 'crashes', 0, 'retries', 0, 'seq', '0', 'kept', '0',
  'output_bytes', 0, 'tenant', tenant, 'payload', payload, 'bytes', bytes, 'policy', ARGV[5], 'idem', idem,
  'conv', conv, 'model', ARGV[14], 'head', ARGV[16], 'created', int(now))

if active and ARGV[8] == 'replace' then
  local ended = call('LRANGE', talk .. ':wait', 0, -1)
  ended[#ended + 1] = active
  for _, other in ipairs(ended) do
    local r = read(other)
    if r.state and not is_over(r.state) then
      nudge_owner(r)
      over(r, 'cancelled', 'X{"reason":"replaced"}', keep_s, conv_ttl_s, true)
    end
  end
end

put(id, int(now) .. '-0', ARGV[15])
if idem ~= '' then call('SET', P .. 'idem:' .. idem, fingerprint .. '|' .. id) end
call('SADD', P .. 'tenant:' .. tenant, id)
call('HINCRBY', P .. 'load', 'count', 1)
call('HINCRBY', P .. 'load', 'bytes', bytes)

local index, expiry = P .. 'index:' .. tenant, P .. 'expiry:' .. tenant
call('ZADD', index, int(now), id)
for _, old in ipairs(call('ZRANGEBYSCORE', expiry, '-inf', int(now), 'LIMIT', 0, EXPIRED_PER_SUBMIT)) do
  call('ZREM', index, old)
  call('ZREM', expiry, old)
end
call('PERSIST', index)
call('PERSIST', expiry)

if conv ~= '' then
  if state == 'held' then call('RPUSH', talk .. ':wait', id) else call('HSET', talk, 'active', id) end
  -- A turn has two rows at most, and every row of an answer comes after one of a question.
  local row = { talk .. ':turns', 'MAXLEN', '~', 2 * tonumber(ARGV[19]), '*', 'id', id, 'asked', ARGV[17] }
  if ARGV[18] ~= '' then row[#row + 1], row[#row + 2] = 'links', ARGV[18] end
  call('HSET', key, 'asked', call('XADD', unpack(row)))
  call('PERSIST', talk)
  call('PERSIST', talk .. ':turns')
  call('SPUBLISH', P .. 'push:conv:' .. conv, id)
end
if state == 'queued' then enqueue(id, tenant, false) end
return { 'OK', id }
