-- Accept a request, or refuse the request and change nothing.
-- KEYS   1 ring
-- ARGV   1 request_id  2 fingerprint  3 tenant  4 payload (JSON)  5 policy  6 idempotency|''  7 conversation|''
--        8 on_busy  9 queue_limit  10 tenant_limit  11 queue_bytes  12 retention_s  13 conversation_ttl_s
--        14 model (JSON)|''  15 queued, the first entry  16 head (JSON)  17 question (JSON)|''
--        18 links (JSON)|''  19 conversation_turns  20 title|''  21 summary (JSON)|''  22 format  23 epoch
--        24 must_be_known (0|1)  25 keep_s|''  26 conversation_keep_s|''  27 tenant_keep_s|''  28 tenant_bytes  29 weight|''
--        30 rates (JSON)|''  31 settled (JSON)|''  32 input_tokens  33 tries|''  34 is_retry (0|1)
--        35 home|''  36 user_limit|''  37 kept_limit|''  38 trace|''
--        39 pool|''  40 outbox|''
-- ->     OK id [rests] | EXISTS id | CONFLICT id | FULL '' | TENANT_LIMIT whose | TENANT_BYTES '' | KEPT '' | RATE '' limit | BUSY active_id | STALE '' | ELSEWHERE ''
-- NEEDS  rights prefix kept rates lifecycle
-- A repeated call finds the id, or the idempotency key, of the first call. The idempotency key and the log
-- have no TTL before the terminal, so an accepted request cannot expire while it waits. `format` is the lowest format
-- of a worker that can run the request. A request without the field needs format 1.
-- Invariant: a conversation, and an idempotency key, lives in one partition. A partition that a newer map has
-- fenced refuses the submits of older maps (STALE). So only the partition that the newest map chooses gets new
-- names, and only from callers that looked for the name in all others after these were fenced. A caller that found
-- the name elsewhere sets `must_be_known`, and is refused if it is gone by now (ELSEWHERE).
-- `keep_s` shortens the retention of this request. `conversation_keep_s` is how long the conversation is kept after its
-- last request from now on, and `tenant_keep_s` how long a conversation for which nobody has chosen a time is kept.
-- `tries` names the calls of one caller with one body that SDKs repeat by themselves. A repeated one (`is_retry`) finds
-- the request of an earlier call that runs or has just ended, and a first one never does. Of several requests, each
-- repeated call finds the one that was found least recently, because as many calls of one body expect as many answers.
-- `home` is the partition where the limits of the tenant are counted, empty for this one.
-- `tenant_limit` is that of a tenant with all its users, and `user_limit` that of one user: `whose` is `user`, or empty.
-- `trace` is the context of the trace that the request belongs to, for workers and readers.
-- `pool` is the function that answers the request, empty for the upstream. Its `format` is 2 at least, so that a worker
-- that knows no functions leaves the request to others.
-- `outbox` names who gets the request when it has ended, each with a limit of bytes: `webhooks=0 history=1000000`.
-- The id comes before the fence: a repeated call whose first reply was lost must find its request.
local request_id, fingerprint, tenant, payload, policy, idempotency, conversation, on_busy, queue_limit,
  tenant_limit, queue_bytes, retention_s, conversation_ttl_s, model, queued, head, question, links,
  conversation_turns, title, summary, format, epoch, must_be_known, keep_s, conversation_keep_s,
  tenant_keep_s, tenant_bytes, weight, rates, settled, input_tokens, tries, is_retry, home,
  user_limit, kept_limit, trace, pool, outbox = unpack(ARGV)
local retention_s, conversation_ttl_s = tonumber(retention_s), tonumber(conversation_ttl_s)
local EXPIRED_PER_SUBMIT = 16
-- How long after the last call its requests are known, how long after its end one is found, and how many are known.
local TRIES_MS, FOUND_MS, MOST_TRIES = 900000, 120000, 32
-- The memory that the request adds. Some protocols keep the question in the log and in the turns, too.
local bytes = #payload + #queued + #question

if idempotency ~= '' then
  local first = call('GET', P .. 'idem:' .. idempotency)
  if first then
    local bar = string.find(first, '|', 1, true)
    local is_same = string.sub(first, 1, bar - 1) == fingerprint
    return { is_same and 'EXISTS' or 'CONFLICT', string.sub(first, bar + 1) }
  end
end
if call('EXISTS', P .. 'req:' .. request_id) == 1 then return { 'EXISTS', request_id } end

local known_tries = tries ~= '' and call('GET', P .. 'tries:' .. tries) or ''

-- Know a request as that of the last call.
local function note_try(id)
  local ids = {}
  for each in string.gmatch(known_tries, '%S+') do
    if each ~= id then ids[#ids + 1] = each end
  end
  ids[#ids + 1] = id
  local known = table.concat(ids, ' ', math.max(1, #ids - MOST_TRIES + 1))
  call('SET', P .. 'tries:' .. tries, known, 'PX', TRIES_MS)
end

if is_retry == '1' then
  for id in string.gmatch(known_tries, '%S+') do
    local state, owner, ended = unpack(call('HMGET', P .. 'req:' .. id, 'state', 'tenant', 'ended'))
    local is_fresh = not ended or now - tonumber(ended) <= FOUND_MS
    if state and state ~= 'cancelled' and owner == tenant and is_fresh then
      note_try(id)
      return { 'EXISTS', id }
    end
  end
end

local fence = tonumber(call('GET', P .. 'epoch') or 0)
if tonumber(epoch) < fence then return { 'STALE', '' } end
-- A fence that a fail-over has lost is put up again.
if tonumber(epoch) > fence then call('SET', P .. 'epoch', epoch) end
if must_be_known == '1' and (conversation == '' or call('EXISTS', P .. 'conv:' .. conversation) == 0) then
  return { 'ELSEWHERE', '' }
end

local load = call('HMGET', P .. 'load', 'count', 'bytes')
if tonumber(load[1] or 0) >= tonumber(queue_limit) or tonumber(load[2] or 0) + bytes > tonumber(queue_bytes) then
  return { 'FULL', '' }
end
local own = call('SCARD', P .. 'tenant:' .. tenant)
if user_limit ~= '' and own >= tonumber(user_limit) then return { 'TENANT_LIMIT', 'user' } end
if is_user(tenant) then own = call('SCARD', P .. 'tenant:' .. account_of(tenant)) end
local of_users = tonumber(call('HGET', P .. 'crowd', account_of(tenant)) or 0)
if own + of_users >= tonumber(tenant_limit) then return { 'TENANT_LIMIT', '' } end
-- Processes of version 0.1 adjust `load` and not `owed`, which is never more.
local owed = math.min(tonumber(call('HGET', P .. 'owed', account_of(tenant)) or 0), tonumber(load[2] or 0))
if owed + bytes > tonumber(tenant_bytes) then return { 'TENANT_BYTES', '' } end
if kept_limit ~= '' and not may_keep(account_of(tenant), owed + bytes, tonumber(kept_limit)) then return { 'KEPT', '' } end

-- List the conversation under its tenant, and drop listed conversations that have expired since.
local function list_conversation(listed)
  local list = P .. 'convs:' .. tenant
  call('ZADD', list, int(now), listed)
  local idle_since = int(now - conversation_ttl_s * 1000)
  for _, old in ipairs(call('ZRANGEBYSCORE', list, '-inf', idle_since, 'LIMIT', 0, EXPIRED_PER_SUBMIT)) do
    if call('EXISTS', P .. 'conv:' .. old) == 0 then call('ZREM', list, old) end
  end
  call('PERSIST', list)
end

local state = 'queued'
local request, conversation_key = P .. 'req:' .. request_id, P .. 'conv:' .. conversation
local known = conversation ~= '' and call('HMGET', conversation_key, 'active', 'title', 'created', 'turns') or {}
local active = known[1]
if active and on_busy == 'reject' then return { 'BUSY', active } end
if active and on_busy == 'queue' then state = 'held' end
local has_room, rests = take_rates(P, rates, now)
if not has_room then return { 'RATE', '', rests } end

call('HSET', request, 'state', state, 'attempt', int(now), 'n', 0, 'crashes', 0, 'retries', 0, 'seq', '0',
  'kept', '0', 'output_bytes', 0, 'tenant', tenant, 'payload', payload, 'bytes', bytes, 'policy', policy,
  'idem', idempotency, 'conv', conversation, 'model', model, 'head', head, 'created', int(now),
  'logged', #queued + #head + #trace, 'asks', #question)
if trace ~= '' then call('HSET', request, 'trace', trace) end
if format ~= '1' then call('HSET', request, 'format', format) end
if pool ~= '' then call('HSET', request, 'pool', pool) end
if outbox ~= '' then call('HSET', request, 'outbox', outbox) end
if keep_s ~= '' then call('HSET', request, 'keep', keep_s) end
if settled ~= '' then call('HSET', request, 'rates', settled, 'input', input_tokens, 'home', home) end

if active and on_busy == 'replace' then
  local replaced = call('LRANGE', conversation_key .. ':wait', 0, -1)
  replaced[#replaced + 1] = active
  for _, id in ipairs(replaced) do
    local r = read_request(id)
    if r.state and not is_over(r.state) then
      notify_owner(r)
      end_request(r, 'cancelled', 'X{"reason":"replaced"}', retention_s, conversation_ttl_s, true)
    end
  end
end

append_entry(request_id, int(now) .. '-0', queued)
if tries ~= '' then note_try(request_id) end
if idempotency ~= '' then call('SET', P .. 'idem:' .. idempotency, fingerprint .. '|' .. request_id) end
call('SADD', P .. 'tenant:' .. tenant, request_id)
call('SADD', P .. 'tenants', tenant)
call('HINCRBY', P .. 'load', 'count', 1)
call('HINCRBY', P .. 'load', 'bytes', bytes)
count_of_tenant('owed', tenant, bytes)
if is_user(tenant) then count_of_tenant('crowd', tenant, 1) end
if weight == '1' then call('HDEL', P .. 'weights', account_of(tenant))
elseif weight ~= '' then call('HSET', P .. 'weights', account_of(tenant), weight) end

local index, expiry = P .. 'index:' .. tenant, P .. 'expiry:' .. tenant
call('ZADD', index, int(now), request_id)
for _, expired in ipairs(call('ZRANGEBYSCORE', expiry, '-inf', int(now), 'LIMIT', 0, EXPIRED_PER_SUBMIT)) do
  call('ZREM', index, expired)
  call('ZREM', expiry, expired)
end
call('PERSIST', index)
call('PERSIST', expiry)

if conversation ~= '' then
  local turns = conversation_key .. ':turns'
  local created, count = known[3], tonumber(known[4])
  if not created then
    -- The conversation is new, or it is older than the list of conversations.
    local first = call('XRANGE', turns, '-', '+', 'COUNT', 1)[1]
    created = first and string.match(first[1], '%d+') or int(now)
    count = math.ceil(call('XLEN', turns) / 2)
  end
  count = math.min((count or 0) + 1, tonumber(conversation_turns))
  local about = { conversation_key, 'summary', summary, 'summary_of', request_id, 'created', created, 'updated', int(now), 'turns', count }
  if title ~= '' and (known[2] or '') == '' then
    for _, field in ipairs({ 'title', title, 'title_of', request_id }) do about[#about + 1] = field end
  end
  if state == 'held' then
    call('RPUSH', conversation_key .. ':wait', request_id)
  else
    about[#about + 1], about[#about + 2] = 'active', request_id
  end
  call('HSET', unpack(about))
  if conversation_keep_s ~= '' then call('HSET', conversation_key, 'keep', conversation_keep_s)
  elseif tenant_keep_s ~= '' then call('HSETNX', conversation_key, 'keep', tenant_keep_s) end
  -- A turn has at most two rows, and the row of an answer always follows the row of its question.
  local row = { turns, 'MAXLEN', '~', 2 * tonumber(conversation_turns), '*', 'id', request_id, 'asked', question }
  if title ~= '' then row[#row + 1], row[#row + 2] = 'title', title end
  if links ~= '' then row[#row + 1], row[#row + 2] = 'links', links end
  call('HSET', request, 'asked', call('XADD', unpack(row)))
  call('PERSIST', conversation_key)
  call('PERSIST', turns)
  call('SPUBLISH', P .. 'push:conv:' .. conversation, request_id)
  list_conversation(conversation)
end
if state == 'queued' then enqueue(request_id, tenant, pool, false, false, true) end
if rests == '' then return { 'OK', request_id } end
return { 'OK', request_id, rests }
