-- Functions that scripts share. A script names this file under NEEDS, and the loader puts it in front.
-- KEYS[1] is any key of the partition: all others are built from its hash tag, so they share its slot.
-- The requests of a function are its pool, and all others are the pool of the upstream, which is ''. A pool has a ring,
-- waiting lists, suspects, newer and idle workers of its own. Those of the upstream have the names of version 0.1.
-- Invariants kept by these functions:
--   a tenant stands in the ring exactly once if and only if its waiting list is not empty;
--   so does `<tenant>~` for all users of a tenant together, and each of them in `users:<tenant>`;
--   a request is in exactly one of waiting list, suspect list, newer, held list, delayed, running, or is over;
--   a request that was suspect once waits nowhere but in the suspect list, and in newer;
--   a function with waiting requests is in `pools`;
--   an entry is never written without being published.
local call = redis.call
local P = string.match(KEYS[1], '^{[^}]*}:')
local refused = refusals(P, RIGHTS, 1)[1]
if refused then return redis.error_reply('NOPERM this account may not run ' .. refused) end

-- While an operator moves the slot of this partition key by key, a missing key may be at the other node. Redis
-- then refuses commands for missing keys, which would leave half of a change behind. So a command for two keys
-- that never exist asks whether the slot is whole, before anything is changed. The caller calls again.
local whole = redis.pcall('EXISTS', P .. 'never:1', P .. 'never:2')
if type(whole) == 'table' then return redis.error_reply('TRYAGAIN the slot of this partition is moving') end

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local WAKE_LIMIT = 64

-- Lua would print a large number as 1.7e+12.
local function int(x) return string.format('%.0f', x) end

local function append_entry(id, entry_id, value)
  call('XADD', P .. 'log:' .. id, entry_id, 'e', value)
  call('SPUBLISH', P .. 'push:' .. id, entry_id .. '\n' .. #value .. ':' .. value)
end

-- A notice goes to the readers that are connected now, and is not stored.
local function publish_notice(id, kind, json)
  call('SPUBLISH', P .. 'push:' .. id, '~' .. kind .. '\n' .. json)
end

-- What follows the name of a pool's key, and the name of an owner in a pool's keys. No owner has a `|` in its name.
local function of_pool(pool) return pool == '' and '' or ':' .. pool end
local function in_pool(pool, owner) return pool == '' and owner or pool .. '|' .. owner end

-- Wake the worker of a pool that has been idle for the longest time, except `itself`; returns whether a connected worker
-- was woken. A worker that died or lost its connection has no subscription, and the next one is woken.
local MOST_WAKES = 100
local function wake_idle_worker(pool, itself)
  for _ = 1, MOST_WAKES do
    local worker = call('ZPOPMIN', P .. 'idle' .. of_pool(pool))[1]
    if not worker then return false end
    if worker ~= itself and call('SPUBLISH', P .. 'push:worker:' .. worker, 'wake') > 0 then return true end
  end
  return false
end

-- Workers of version 0.1 block on the tokens. They are asked last, because nobody can see whether one waits.
local function wake_worker(pool)
  if wake_idle_worker(pool) or pool ~= '' then return end
  if call('LLEN', P .. 'wake') < WAKE_LIMIT then call('LPUSH', P .. 'wake', '1') end
end

-- The tenant of a request whose owner is a user of that tenant.
local function account_of(owner) return string.match(owner, '^[^~]*') end
local function is_user(owner) return string.find(owner, '~', 1, true) ~= nil end

-- Give an owner whose waiting list was empty its turns. All users of a tenant have one place in the ring, so that they
-- hide no other tenant, and their turns in `users:<tenant>`. If a process that knows no users took that place away, the
-- next user restores it.
local function enter_turns(owner, pool, turn_now)
  local push, entry, ring = turn_now and 'LPUSH' or 'RPUSH', owner, P .. 'ring' .. of_pool(pool)
  if is_user(owner) then
    local tenant = account_of(owner)
    entry = tenant .. '~'
    if call(push, P .. 'users:' .. in_pool(pool, tenant), owner) > 1 and call('LPOS', ring, entry) then return end
  end
  call(push, ring, entry)
end

-- Take the turns of an owner with nothing waiting away. `side` is the end to search from, 1 or -1.
local function leave_turns(owner, pool, side)
  local entry, users = owner, is_user(owner) and P .. 'users:' .. in_pool(pool, account_of(owner))
  if users and call('LREM', users, side, owner) > 0 then
    if call('EXISTS', users) == 1 then return end
    entry = account_of(owner) .. '~'
  end
  call('LREM', P .. 'ring' .. of_pool(pool), side, entry)
end

-- Put a request into its tenant's waiting list, or into the suspect list, of its pool. `to_head` puts the request at the
-- head of that list; `turn_now` gives the tenant the next turn if it had nothing waiting. Callers do this before
-- they take the request from where it was: a list that cannot be written ends the script here, with nothing lost.
-- `is_new`: no worker has run the request, so it is no suspect.
local function enqueue(id, tenant, pool, to_head, turn_now, is_new)
  local push = to_head and 'LPUSH' or 'RPUSH'
  if pool ~= '' then call('SADD', P .. 'pools', pool) end
  if not is_new and call('HEXISTS', P .. 'req:' .. id, 'suspect') == 1 then
    call(push, P .. 'suspect' .. of_pool(pool), id)
  elseif call(push, P .. 'wait:' .. in_pool(pool, tenant), id) == 1 then
    enter_turns(tenant, pool, turn_now)
  end
  wake_worker(pool)
end

-- Count what a tenant has in this partition, with all its users: `busy` is how many of its requests run, `owed` the
-- bytes of its requests that are not over, and `crowd` the number of those of its users. A recount replaces all.
local function count_of_tenant(count, owner, change)
  local tenant = account_of(owner)
  if change ~= 0 and call('HINCRBY', P .. count, tenant, int(change)) <= 0 then call('HDEL', P .. count, tenant) end
end

local function leave_running(r)
  call('ZREM', P .. 'running', r.id)
  count_of_tenant('busy', r.tenant, -1)
end

-- Take a request out of a pool, wherever it waits there. Returns whether it did.
local function remove_from_pool(r, pool)
  local waiting = P .. 'wait:' .. in_pool(pool, r.tenant)
  if call('LREM', waiting, 1, r.id) == 0 then
    return call('LREM', P .. 'suspect' .. of_pool(pool), 1, r.id) + call('ZREM', P .. 'newer' .. of_pool(pool), r.id) > 0
  end
  if call('EXISTS', waiting) == 0 then leave_turns(r.tenant, pool, 1) end
  return true
end

-- A process that knows no pools may have queued the request of a function for the upstream.
local function remove_from_queue(r)
  if not remove_from_pool(r, r.pool) and r.pool ~= '' then remove_from_pool(r, '') end
end

-- `...` are names of further fields, whose values follow in `more`.
local function read_request(id, ...)
  local h = call('HMGET', P .. 'req:' .. id, 'state', 'attempt', 'seq', 'tenant', 'conv', 'idem', 'bytes',
    'owner', 'crashes', 'n', 'kept', 'policy', 'model', 'reason', 'format', 'replid', 'rates', 'input', 'home',
    'logged', 'asks', 'output_bytes', 'pool', 'checkpoint_at', 'begun', 'outbox', 'attached', 'keep', 'stored', ...)
  return { id = id, state = h[1], attempt = h[2], seq = tonumber(h[3] or 0), tenant = h[4],
    conversation = h[5] or '', idempotency = h[6] or '', bytes = tonumber(h[7] or 0), owner = h[8] or '',
    crashes = tonumber(h[9] or 0), n = tonumber(h[10] or 0), kept = h[11], policy = h[12],
    model = h[13] or '', reason = h[14] or 'null', format = tonumber(h[15] or 1), replid = h[16], rates = h[17] or '', input = tonumber(h[18] or 0), home = h[19] or '',
    logged = tonumber(h[20]), asks = tonumber(h[21] or 0), output = tonumber(h[22] or 0), pool = h[23] or '',
    checkpoint_at = h[24], begun = h[25], outbox = h[26] or '', attached = h[27], keep_s = h[28], stored = h[29],
    answer_bytes = 0, more = { unpack(h, 30) } }
end

-- Record that Redis serves workers now, and return the time before which no lease is reaped.
-- A gap since the last record means that Redis itself was away, and a lease that ran out during the outage
-- does not show that its worker died. All workers get the time of one lease to renew, but not twice in a row:
-- slow workers would otherwise delay each takeover without limit. `reachable_ms` is for how long the calling
-- worker has had an answer from this server at least every half lease: in that time, there was no gap.
-- Leases differ while a new one is rolled out, so all workers get the longest one that was in use before the gap.
-- A record that says the same is written once in NOTED_MS. Returns also whether it was written, and what is known of
-- `current_replid` in lifecycle.lua.
local MAX_LEASE_MS, NOTED_MS = 900000, 100
local function note_seen(lease_ms, reachable_ms)
  local seen = call('HMGET', P .. 'load', 'seen', 'grace', 'late', 'lease', 'lease_seen', 'replid', 'replid_at')
  local grace = tonumber(seen[2] or 0)
  -- No lease is this long. A later end means that the clock was set back, and would not come.
  if grace > now + MAX_LEASE_MS then grace = 0 end
  local longest_ms, longest_seen = tonumber(seen[4] or 0), tonumber(seen[5] or 0)
  local is_unused = tonumber(seen[1] or now) - longest_seen > longest_ms
  if lease_ms >= longest_ms or is_unused then longest_ms, longest_seen = lease_ms, now end
  local gap_ms = seen[1] and now - reachable_ms - tonumber(seen[1]) or 0
  local is_late = gap_ms > math.max(lease_ms / 2, 1500)
  if is_late and seen[3] ~= '1' then grace = now + longest_ms end
  local late = is_late and '1' or '0'
  local is_same = seen[1] and math.abs(now - tonumber(seen[1])) < NOTED_MS and int(grace) == seen[2]
    and late == seen[3] and int(longest_ms) == seen[4]
  if not is_same then
    call('HSET', P .. 'load', 'seen', int(now), 'grace', int(grace), 'late', late,
      'lease', int(longest_ms), 'lease_seen', int(longest_seen))
  end
  return grace, not is_same, { replid = seen[6], at = tonumber(seen[7] or 0) }
end

local function is_over(state) return state == 'completed' or state == 'failed' or state == 'cancelled' end

-- Let the worker that runs a request close its upstream.
local function notify_owner(r)
  local worker = string.match(r.owner, '^(.*):')
  if r.state == 'running' and worker then call('SPUBLISH', P .. 'push:worker:' .. worker, r.id) end
end

-- The time for which something is kept: at most what the settings say.
local function shorter_s(keep_s, setting_s) return math.min(tonumber(keep_s or setting_s), setting_s) end

-- Let what is listed of a tenant without unfinished requests start to age.
local function age_tenant(tenant, retention_s, conversation_ttl_s)
  call('SREM', P .. 'tenants', tenant)
  call('EXPIRE', P .. 'index:' .. tenant, retention_s)
  call('EXPIRE', P .. 'expiry:' .. tenant, retention_s)
  call('EXPIRE', P .. 'convs:' .. tenant, conversation_ttl_s)
end

