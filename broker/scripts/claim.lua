-- Reap and queue the requests that are due, then lease the next request and open its attempt.
-- KEYS   1 ring
-- ARGV   1 worker  2 nonce  3 lease_ms  4 can_continue (0|1)  5 max_crashes  6 retention_s
--        7 conversation_ttl_s  8 budget  9 take (0|1)  10 suspect_ok (0|1)  11 default_model (JSON)
--        12 dead_retention_s  13 stays_idle (0|1)  14 reachable_ms  15 format  16 keeps  17.. values, the pools
-- ->     GO id attempt n opener prev payload crashes retries conversation tenant next_ms poisoned interrupted created
--        lost trace pool attached | EMPTY next_ms poisoned interrupted
-- FLAGS  deny-oom
-- NEEDS  rights prefix kept rates lifecycle turns
-- `next_ms` is the time in ms until another claim could succeed: 0 now, -1 nothing is scheduled. `poisoned` and
-- `interrupted` are how many requests this call ended with these codes. `created` is when the request was accepted,
-- and `lost` when the worker that ran it last renewed its lease, if the request was taken back from that worker.
-- `trace` is that of the submit. `attached` is the answer that one of the worker's upstreams keeps (mark.lua), or ''.
-- The worker gets requests of its pools only: names of functions, and '' for the upstream. Of several pools, the one whose
-- next tenant runs the fewest requests for its weight is next, and of equal ones the first.
-- `keeps` has the names of the worker's upstreams that keep answers, with a space between two names.
-- A repeated call with the same nonce returns the same request while that request runs. A request whose
-- policy forbids another attempt ends as `failed`, and the next one is claimed. A claim that leaves work in the
-- ring wakes an idle worker, or leaves a wake token. A claim that leaves none removes all tokens, and lists the
-- worker as idle if it can take more: if it got nothing, or says `stays_idle`. In the same step, a worker that
-- takes nothing is no longer listed, so that a full worker can pass on a wake, and a stopping one gets none.
-- A worker that can run requests up to `format` puts a request that needs a later one into `newer`. Workers of
-- that format take it from there, and find it by their looks. A worker that knows no pools may put the request of a
-- function into the ring of the upstream, or into its `newer`: the first worker that finds it there moves it to its pool.
local worker, nonce, lease_ms, can_continue, max_crashes, retention_s, conversation_ttl_s, budget, take,
  suspect_ok, default_model, dead_retention_s, stays_idle, reachable_ms, format, keeps = unpack(ARGV, 1, 16)
local pools = { unpack(ARGV, 17) }
local lease_ms, max_crashes, budget = tonumber(lease_ms), tonumber(max_crashes), tonumber(budget)
local retention_s, conversation_ttl_s = tonumber(retention_s), tonumber(conversation_ttl_s)
local owner = worker .. ':' .. nonce
local MOST_IDLE = 10000
local POISON = 'F{"code":"poison","message":"The request was given up: every worker that ran it died.","retryable":false}'

local poisoned, interrupted = 0, 0

local function claimed_reply(id, next_ms)
  local h = call('HMGET', P .. 'req:' .. id, 'attempt', 'n', 'opener', 'prev', 'payload', 'crashes', 'retries', 'conv',
    'tenant', 'created', 'reason', 'lost', 'trace', 'pool', 'attached')
  local lost = h[11] == '"worker_lost"' and h[12] or ''
  return { 'GO', id, h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], next_ms, poisoned, interrupted, h[10] or '', lost,
    h[13] or '', h[14] or '', h[15] or '' }
end

local claimed = call('GET', P .. 'claim:' .. nonce)
if claimed then
  local h = call('HMGET', P .. 'req:' .. claimed, 'state', 'owner')
  if h[1] == 'running' and h[2] == owner then
    call('ZADD', P .. 'running', int(now + lease_ms), claimed)
    return claimed_reply(claimed, 0)
  end
end

-- No lease or delay is this long. A later end means that the clock was set back, and would not come.
local FAR_MS = { running = MAX_LEASE_MS, delayed = 7200000 }
local grace, is_noted, known = note_seen(lease_ms, tonumber(reachable_ms))

-- Replace ends that a set-back clock moved out of reach.
local function bring_ends_near(set)
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. set, int(now + FAR_MS[set]), '+inf', 'LIMIT', 0, budget)) do
    call('ZADD', P .. set, int(now + lease_ms), id)
  end
end

-- Take back a request whose lease ran out: queue it again, or end it as poison.
local function reap(id)
  local r = read_request(id)
  if r.state ~= 'running' then
    call('ZREM', P .. 'running', id)
    return
  end
  r.crashes = r.crashes + 1
  -- The lost worker cannot report what the attempt cost.
  if not r.attached or r.crashes >= max_crashes then estimate_usage(r) end
  local lost = tonumber(call('ZSCORE', P .. 'running', id) or now) - lease_ms
  local counted = { 'crashes', r.crashes, 'reason', '"worker_lost"', 'lost', int(lost) }
  if r.crashes >= max_crashes then
    call('HSET', P .. 'req:' .. id, unpack(counted))
    local payload = call('HGET', P .. 'req:' .. id, 'payload')
    end_request(r, 'failed', POISON, retention_s, conversation_ttl_s)
    poisoned = poisoned + 1
    call('HSET', P .. 'req:' .. id, 'payload', payload)
    call('EXPIRE', P .. 'req:' .. id, dead_retention_s)
    count_kept(P .. 'req:' .. id, r.tenant, bytes_after_end(r) + #payload, tonumber(dead_retention_s))
    call('XADD', P .. 'dead', 'MAXLEN', '~', 1000, '*', 'id', id, 'tenant', r.tenant)
    return
  end
  if r.crashes == max_crashes - 1 then call('HSET', P .. 'req:' .. id, 'suspect', 1) end
  enqueue(id, r.tenant, r.pool, true, true)
  call('HSET', P .. 'req:' .. id, 'state', 'queued', unpack(counted))
  leave_running(r)
end

-- The first id of a set and its score, read once. What changes the set forgets them.
local firsts = {}
local function first_of(set)
  firsts[set] = firsts[set] or call('ZRANGE', P .. set, 0, 0, 'WITHSCORES')
  return firsts[set]
end

-- Backwards, because `action` puts each id at the head of its list, and the earliest due id must come first.
local function for_each_due(set, action)
  local first = first_of(set)
  if not first[2] or tonumber(first[2]) > now then return end
  firsts = {}
  local ids = call('ZRANGEBYSCORE', P .. set, '-inf', int(now), 'LIMIT', 0, budget)
  for i = #ids, 1, -1 do action(ids[i]) end
end

local function queue_delayed(id)
  local h = call('HMGET', P .. 'req:' .. id, 'state', 'tenant', 'pool')
  if h[1] == 'delayed' then
    enqueue(id, h[2], h[3] or '', true)
    call('HSET', P .. 'req:' .. id, 'state', 'queued')
    call('HDEL', P .. 'req:' .. id, 'waiting')
  end
  call('ZREM', P .. 'delayed', id)
end

-- A clock that was set back is a change of what is noted.
if is_noted then
  bring_ends_near('running')
  bring_ends_near('delayed')
end
if now >= grace then for_each_due('running', reap) end
for_each_due('delayed', queue_delayed)

-- Whether a pool has suspects, or requests in `newer`, which few pools have. True may be out of date, and false is not.
local exceptions = {}
local function has_exceptions(pool)
  if exceptions[pool] == nil then
    exceptions[pool] = call('EXISTS', P .. 'suspect' .. of_pool(pool), P .. 'newer' .. of_pool(pool)) > 0
  end
  return exceptions[pool]
end

-- The first request in a pool's `newer` that this worker can run. These have waited at the head of a list before.
local function first_newer_id(pool)
  if not has_exceptions(pool) then return nil end
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'newer' .. of_pool(pool), '-inf', format, 'LIMIT', 0, budget)) do
    if suspect_ok == '1' or call('HEXISTS', P .. 'req:' .. id, 'suspect') == 0 then return id end
  end
end

-- Of several pools, those where something waits.
local function waiting_pools()
  if #pools == 1 then return pools end
  local waiting = {}
  for _, pool in ipairs(pools) do
    local of = of_pool(pool)
    if call('EXISTS', P .. 'ring' .. of, P .. 'suspect' .. of, P .. 'newer' .. of) > 0 then waiting[#waiting + 1] = pool end
  end
  return waiting
end

-- The next request of all pools of this worker, and its pool.
local function pop_next_id()
  local waiting = waiting_pools()
  for _, pool in ipairs(waiting) do
    local id = first_newer_id(pool)
    if id then call('ZREM', P .. 'newer' .. of_pool(pool), id) end
    id = id or suspect_ok == '1' and has_exceptions(pool) and call('LPOP', P .. 'suspect' .. of_pool(pool))
    if id then return id, pool end
  end
  local next_pool, next_place, next_side, least, next_only
  for _, pool in ipairs(waiting) do
    local place, side, share, is_only = next_tenant(pool, #waiting == 1)
    if place and (not least or share < least) then
      next_pool, next_place, next_side, least, next_only = pool, place, side, share, is_only
    end
  end
  if next_pool then return pop_in_turn(next_pool, next_place, next_side, next_only), next_pool end
end

-- Wake another worker while requests wait, because this one was woken for one of them. Returns whether any wait.
local function pass_wakes_on()
  local has_more = false
  for _, pool in ipairs(pools) do
    if take == '0' then call('ZREM', P .. 'idle' .. of_pool(pool), worker) end
    if call('EXISTS', P .. 'ring' .. of_pool(pool)) == 1 then
      has_more = true
      local is_passed_on = wake_idle_worker(pool, worker) or pool ~= ''
      if not is_passed_on and call('EXISTS', P .. 'wake') == 0 then call('LPUSH', P .. 'wake', '1') end
    elseif pool == '' and not (has_exceptions('') and call('EXISTS', P .. 'suspect') == 1) then
      call('DEL', P .. 'wake')
    end
  end
  return has_more
end

-- Pass wakes on, or list this worker as idle. Returns next_ms.
local function settle_wakes(is_idle)
  if pass_wakes_on() then return 0 end
  local has_newer = false
  for _, pool in ipairs(pools) do
    if is_idle then
      call('ZADD', P .. 'idle' .. of_pool(pool), int(now), worker)
      if is_noted then call('ZREMRANGEBYRANK', P .. 'idle' .. of_pool(pool), 0, -MOST_IDLE - 1) end
    end
    has_newer = has_newer or first_newer_id(pool) ~= nil
  end
  if has_newer then return 0 end
  local soonest_ms = -1
  for _, set in ipairs({ 'running', 'delayed' }) do
    local first = first_of(set)
    if first[2] then
      -- A lease that ran out during the grace is reaped when the grace ends. Without `not_before`, all idle
      -- workers would claim every millisecond until then.
      local not_before = set == 'running' and grace or 0
      local due_ms = math.max(0, tonumber(first[2]) - now, not_before - now) + 1
      if soonest_ms < 0 or due_ms < soonest_ms then soonest_ms = due_ms end
    end
  end
  return soonest_ms
end

-- Requests of functions that a worker without knowledge of pools left for newer ones. A worker of the upstream finds
-- them as it claims.
local function move_to_pools()
  for _, pool in ipairs(pools) do
    if pool == '' then return end
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'newer', '-inf', format, 'LIMIT', 0, budget)) do
    local h = call('HMGET', P .. 'req:' .. id, 'state', 'tenant', 'pool')
    if h[1] == 'queued' and h[3] then enqueue(id, h[2], h[3], true) end
    if h[1] ~= 'queued' or h[3] then call('ZREM', P .. 'newer', id) end
  end
end

-- The reply for a request that this call has leased. `more` has the fields MORE.
local MORE = { 'payload', 'retries', 'created', 'lost', 'trace' }
local function leased_reply(r, opener, prev, next_ms)
  local payload, retries, created, lost, trace = unpack(r.more)
  if r.reason ~= '"worker_lost"' then lost = nil end
  return { 'GO', r.id, r.attempt, r.n, opener, prev, payload, r.crashes, retries, r.conversation, r.tenant, next_ms, poisoned,
    interrupted, created or '', lost or '', trace or '', r.pool, r.attached or '' }
end

move_to_pools()
local tries = 0
while take == '1' and tries < budget do
  tries = tries + 1
  local id, pool = pop_next_id()
  if not id then break end
  local r = read_request(id, unpack(MORE))
  if r.state == 'queued' and r.pool ~= pool then
    enqueue(id, r.tenant, r.pool, true)
    exceptions = {}
  elseif r.state == 'queued' and r.format > tonumber(format) then
    call('ZADD', P .. 'newer' .. of_pool(pool), r.format, id)
    exceptions = {}
  elseif r.state == 'queued' then
    local attempt, _, opener, prev = open_attempt(r, can_continue, keeps, owner, lease_ms, default_model, known)
    if attempt then
      call('SET', P .. 'claim:' .. nonce, id, 'PX', int(lease_ms * 2))
      local first = first_of('running')
      if not first[2] or tonumber(first[2]) > now + lease_ms then firsts.running = { id, now + lease_ms } end
      return leased_reply(r, opener, prev, settle_wakes(stays_idle == '1'))
    end
    exceptions, firsts = {}, {}
    end_request(r, 'failed', INTERRUPTED, retention_s, conversation_ttl_s)
    interrupted = interrupted + 1
  end
end

return { 'EMPTY', settle_wakes(take == '1'), poisoned, interrupted }
