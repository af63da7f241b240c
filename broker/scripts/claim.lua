-- Reap and promote what is due, then lease the next request and open its attempt.
-- KEYS  ring
-- ARGV  1 worker  2 nonce  3 lease_ms  4 can_continue (0|1)  5 max_crashes  6 keep_s  7 conv_ttl_s
--       8 budget  9 take (0|1)  10 suspect_ok (0|1)  11 default model (JSON)  12 dead_keep_s
-- ->    GO id attempt n opener prev payload crashes retries conv tenant next_ms
--     | EMPTY next_ms
-- next_ms is the time until there may be something to take: 0 now, -1 nothing is planned.
-- Safe to repeat: the same nonce gets the same request again while it still runs. What its policy
-- forbids to redo is ended `failed` and the next is taken. The ring is never left non-empty without
-- a wake token, and no token outlives the work.
local worker, nonce, lease_ms, can_continue = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local max_crashes, keep_s, conv_ttl_s, budget = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local owner = worker .. ':' .. nonce
local POISON = 'F{"code":"poison","message":"The request was given up: every worker that ran it died.","retryable":false}'
local INTERRUPTED = 'F{"code":"interrupted","message":"The answer was cut off and may not be started again.","retryable":true}'

local function go(id, next_ms)
  local h = call('HMGET', P .. 'req:' .. id, 'attempt', 'n', 'opener', 'prev', 'payload', 'crashes', 'retries', 'conv', 'tenant')
  return { 'GO', id, h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], next_ms }
end

local claimed = call('GET', P .. 'claim:' .. nonce)
if claimed then
  local h = call('HMGET', P .. 'req:' .. claimed, 'state', 'owner')
  if h[1] == 'running' and h[2] == owner then
    call('ZADD', P .. 'running', int(now + lease_ms), claimed)
    return go(claimed, 0)
  end
end

-- No lease, grace or delay is this long: the clock was set back, and their ends would not come.
local FAR_MS = { running = 900000, delayed = 7200000 }
local seen = call('HMGET', P .. 'load', 'seen', 'grace', 'late')
local grace = tonumber(seen[2] or 0)
if grace > now + FAR_MS.running then grace = 0 end

-- Idle workers claim every second. No claim for longer than that means Redis itself was away, and
-- the leases that ran out meanwhile say nothing about their workers: give them one lease to renew.
-- But not twice in a row, or claims that are merely slow would put every takeover off for ever.
local is_late = seen[1] and now - tonumber(seen[1]) > math.max(lease_ms / 2, 1500)
if is_late and seen[3] ~= '1' then
  grace = now + lease_ms
  call('HSET', P .. 'load', 'grace', int(grace))
end
call('HSET', P .. 'load', 'seen', int(now), 'late', is_late and 1 or 0)

local function bring_near(set)
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. set, int(now + FAR_MS[set]), '+inf', 'LIMIT', 0, budget)) do
    call('ZADD', P .. set, int(now + lease_ms), id)
  end
end

local function reap(id)
  local r = read(id)
  if r.state ~= 'running' then
    call('ZREM', P .. 'running', id)
    return
  end
  r.crashes = r.crashes + 1
  call('HSET', P .. 'req:' .. id, 'crashes', r.crashes, 'reason', '"worker_lost"')
  -- Its worker will tell nobody what the attempt cost. An entry is a delta, and a delta about a token.
  if r.seq > 0 then
    call('HSETNX', P .. 'req:' .. id, 'usage:' .. r.attempt, '{"completion_tokens":' .. int(r.seq) .. ',"estimated":true}')
  end
  if r.crashes >= max_crashes then
    local payload = call('HGET', P .. 'req:' .. id, 'payload')
    over(r, 'failed', POISON, keep_s, conv_ttl_s)
    call('HSET', P .. 'req:' .. id, 'payload', payload)
    call('EXPIRE', P .. 'req:' .. id, ARGV[12])
    call('XADD', P .. 'dead', 'MAXLEN', '~', 1000, '*', 'id', id, 'tenant', r.tenant)
    return
  end
  call('ZREM', P .. 'running', id)
  call('HSET', P .. 'req:' .. id, 'state', 'queued')
  if r.crashes == max_crashes - 1 then call('HSET', P .. 'req:' .. id, 'suspect', 1) end
  enqueue(id, r.tenant, true, true)
end

-- Backwards, since each goes to the head of its line: what was due first shall stand first.
local function each_due(set, action)
  local ids = call('ZRANGEBYSCORE', P .. set, '-inf', int(now), 'LIMIT', 0, budget)
  for i = #ids, 1, -1 do action(ids[i]) end
end

local function promote(id)
  call('ZREM', P .. 'delayed', id)
  local h = call('HMGET', P .. 'req:' .. id, 'state', 'tenant')
  if h[1] == 'delayed' then
    call('HSET', P .. 'req:' .. id, 'state', 'queued')
    call('HDEL', P .. 'req:' .. id, 'waiting')
    enqueue(id, h[2], true)
  end
end

bring_near('running')
bring_near('delayed')
if now >= grace then each_due('running', reap) end
each_due('delayed', promote)

local function next_id()
  local id = ARGV[10] == '1' and call('LPOP', P .. 'suspect')
  if id then return id end
  local tenant = call('LPOP', P .. 'ring')
  if not tenant then return nil end
  local waiting = P .. 'wait:' .. tenant
  id = call('LPOP', waiting)
  if call('EXISTS', waiting) == 1 then call('RPUSH', P .. 'ring', tenant) end
  return id
end

-- A token taken by the worker that got the last request must not be the last one while others wait,
-- and none may be left when nothing waits. -> next_ms
local function settle()
  if call('EXISTS', P .. 'ring') == 1 then
    if call('EXISTS', P .. 'wake') == 0 then call('LPUSH', P .. 'wake', '1') end
    return 0
  end
  if call('EXISTS', P .. 'suspect') == 0 then call('DEL', P .. 'wake') end
  local soonest_ms = -1
  for _, set in ipairs({ 'running', 'delayed' }) do
    local first = call('ZRANGE', P .. set, 0, 0, 'WITHSCORES')
    if first[2] then
      -- A lease that ran out during the grace is reaped at its end: without this, all idle workers
      -- would ask again each millisecond until then.
      local not_before = set == 'running' and grace or 0
      local due_ms = math.max(0, tonumber(first[2]) - now, not_before - now) + 1
      if soonest_ms < 0 or due_ms < soonest_ms then soonest_ms = due_ms end
    end
  end
  return soonest_ms
end

local tries = 0
while ARGV[9] == '1' and tries < budget do
  tries = tries + 1
  local id = next_id()
  if not id then break end
  local r = read(id)
  if r.state == 'queued' then
    if open(r, can_continue, owner, lease_ms, ARGV[11]) then
      call('SET', P .. 'claim:' .. nonce, id, 'PX', int(lease_ms * 2))
      return go(id, settle())
    end
    over(r, 'failed', INTERRUPTED, keep_s, conv_ttl_s)
  end
end

return { 'EMPTY', settle() }
